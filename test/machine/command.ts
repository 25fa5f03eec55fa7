/** What every command is: when it begins, who acts, and how long what follows goes on before the next. */
import fc, { type AsyncCommand } from 'fast-check'
import type { Client } from './client.ts'
import type { World } from './world.ts'

/** What fast-check asks before a command; the model itself is in the world, and watches all the time. */
export interface Model {
  world: World
}

/** When a command begins, and how long what follows from it goes on before the next. */
interface Pace {
  seed: number
  steps: number
}
type Act = (world: World) => void | Promise<void>

export class Command implements AsyncCommand<Model, World> {
  readonly #says: string
  readonly #pace: Pace
  readonly #act: Act
  readonly #may: (world: World) => boolean

  constructor(says: string, pace: Pace, act: Act, may: (world: World) => boolean = () => true) {
    this.#says = says
    this.#pace = pace
    this.#act = act
    this.#may = may
  }
  check({ world }: Readonly<Model>): boolean {
    return this.#may(world)
  }
  async run(_model: Model, world: World): Promise<void> {
    world.figures.commands++
    world.dice.begin(this.#pace.seed)
    await this.#act(world)
    await world.steps(this.#pace.steps)
  }
  toString(): string {
    return `${this.#says} ~${this.#pace.steps}`
  }
}

export const pace: fc.Arbitrary<Pace> = fc.record({
  seed: fc.noShrink(fc.nat(2 ** 31 - 1)),
  steps: fc.constantFrom(0, 3, 10, 40),
})
export const who = fc.nat(3)
export const at = (world: World, nth: number) => world.clients[nth] as Client
export const named = (nth: number) => ['alice/one', 'bob/one', 'bob/two', 'alice/two'][nth] as string
/** Under way from here on. */
export const stirs =
  (act: Act): Act =>
  world => {
    world.calm = false
    return act(world)
  }
