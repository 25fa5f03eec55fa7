/**
 * The order of everything in a simulated run. Whatever waits (storage, network, timers, turns of the loop) hands in how
 * it goes on; the run lets one of them go on at a time, chosen by its seed, and lets what follows from it settle.
 */
import type { Scheduler } from '../../core/ports.ts'
import type { Chance } from '../support/proof.ts'

const START = 1_790_000_000_000
/** Something overtakes what is ready once in so many steps: then a timer runs although work waits. */
const HURRY = 24
/** A timer that comes so early is due only in this many milliseconds. */
const HURRY_MS = 3_000

interface Timer {
  at: number
  life: Life
  run: () => void
}

/** A process, as far as waiting goes: with its end nothing of it goes on. */
export class Life implements Scheduler {
  readonly #turns: Turns
  over = false
  constructor(turns: Turns) {
    this.#turns = turns
  }
  now(): number {
    return this.#turns.time
  }
  after(ms: number, run: () => void): () => void {
    return this.#turns.at(this.#turns.time + ms, this, run)
  }
  soon(run: () => void): void {
    this.#turns.add(this, run)
  }
  /** Resolves when its turn comes; never, once the life is over. */
  turn(): Promise<void> {
    return new Promise(resolve => this.#turns.add(this, resolve))
  }
}

export class Turns {
  time = START
  readonly #chance: Chance
  #ready: { life: Life; run: () => void }[] = []
  #timers: Timer[] = []
  /** What of the run was decided, for comparing two plays of one seed. */
  steps = 0

  constructor(chance: Chance) {
    this.#chance = chance
  }

  add(life: Life, run: () => void): void {
    if (!life.over) this.#ready.push({ life, run })
  }

  at(at: number, life: Life, run: () => void): () => void {
    const timer = { at, life, run }
    if (!life.over) this.#timers.push(timer)
    return () => {
      const i = this.#timers.indexOf(timer)
      if (i >= 0) this.#timers.splice(i, 1)
    }
  }

  end(life: Life): void {
    life.over = true
    this.#ready = this.#ready.filter(({ life: of }) => of !== life)
    this.#timers = this.#timers.filter(({ life: of }) => of !== life)
  }

  get idle(): boolean {
    return this.#ready.length === 0
  }

  /** Nothing will ever go on. */
  get dead(): boolean {
    return this.#ready.length === 0 && this.#timers.length === 0
  }

  /** Lets one thing go on, and waits until nothing more follows from it. */
  async step(): Promise<void> {
    this.steps++
    const hurry = this.#ready.length === 0 || this.#chance.below(HURRY) === 0
    const until = this.#ready.length === 0 ? Number.POSITIVE_INFINITY : this.time + HURRY_MS
    if (!(hurry && this.#timer(until))) {
      const [next] = this.#ready.splice(this.#chance.below(this.#ready.length), 1)
      next?.run()
    }
    await settled()
  }

  /** Runs the timer that is due first, if it is due before `until`. */
  #timer(until: number): boolean {
    let first: Timer | undefined
    for (const timer of this.#timers) if (!first || timer.at < first.at) first = timer
    if (!first || first.at > until) return false
    this.#timers.splice(this.#timers.indexOf(first), 1)
    this.time = Math.max(this.time, first.at)
    first.run()
    return true
  }
}

/** Every promise that can be settled is. */
const settled = () => new Promise<void>(resolve => setImmediate(resolve))
