/** The server's process, on a disk and a network that outlive it; what it has stored is held against what it told. */
import type { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey } from '../../core/ports.ts'
import { Disk } from '../simulation/disk.ts'
import type { Image } from '../simulation/image.ts'
import { type Line, line } from '../simulation/network.ts'
import { type SimulatedServer, start } from '../simulation/server.ts'
import { Life, type Turns } from '../simulation/turns.ts'
import type { Chance } from '../support/proof.ts'
import { GROUP, type Log } from './log.ts'
import type { Limits } from './session.ts'

interface World {
  readonly dice: Chance
  readonly turns: Turns
  readonly log: Log
  until<T>(work: Promise<T>): Promise<T>
  appended(conversation: string, entry: StoredEntry): void
  wrong(what: string): void
  judge(): void
}

const CONVERSATIONS = [GROUP, 'u:alice:bob', 'n:alice', 'n:bob']
const PAGE = 1_000

export class ServerProcess {
  life: Life
  readonly #world: World
  readonly #limits: Limits
  readonly #outside: Life
  readonly #disk: Disk
  readonly #lines = new Set<Line>()
  #server: SimulatedServer | undefined

  constructor(image: Image, limits: Limits, world: World) {
    this.#world = world
    this.#limits = limits
    this.#outside = new Life(world.turns)
    this.life = new Life(world.turns)
    this.#disk = new Disk(world.dice, image.batches)
  }

  get core(): SimulatedServer['core'] | undefined {
    return this.#server?.core
  }
  get storage(): SimulatedServer['storage'] | undefined {
    return this.#server?.storage
  }

  async begin(): Promise<void> {
    const { life } = this
    const world = this.#world
    const failed = (where: string, error: unknown) => {
      const { stack, cause } = error as Error
      if (!life.over) world.wrong(`${where}: ${stack ?? error} ${cause ?? ''}`)
    }
    const starting = start({ disk: this.#disk, life, chance: world.dice, options: this.#limits, failed })
    const server = await world.until(starting)
    server.storage.log.follow((key, entry) => world.appended(key.slice(3), entry))
    this.#server = server
    await this.readLogs()
  }

  /** What is stored is what was told, and whatever became durable in the moment of a crash. */
  async readLogs(): Promise<void> {
    const world = this.#world
    const log = this.#server?.storage.log
    if (!log) return
    for (const conversation of CONVERSATIONS) {
      const key = `im/${conversation}` as ConversationKey
      for (let after = 0; ; after += PAGE) {
        const page = await world.until(log.read(key, { after: after as never, limit: PAGE }))
        for (const entry of page) this.#stored(conversation, entry)
        if (page.length === 0 && after < world.log.tail(conversation))
          world.wrong(`${conversation} ends before ${world.log.tail(conversation)}`)
        if (page.length < PAGE) break
      }
      world.judge()
    }
  }
  #stored(conversation: string, entry: StoredEntry): void {
    const told = this.#world.log.at(conversation, entry.seq)
    if (!told) this.#world.appended(conversation, entry)
    else if (Buffer.compare(told.bytes, entry.bytes) !== 0)
      this.#world.wrong(`${conversation} ${entry.seq} is not what was told`)
  }

  dial(): Line {
    const made = line(this.#outside, this.#world.dice)
    this.#lines.add(made)
    if (this.#server) this.#server.take(0, made.server)
    else made.cut()
    return made
  }

  /** At once; with the power, what the disk had not synced may go too. */
  die(power: boolean): void {
    this.#over()
    if (power) this.#disk.cutPower()
  }

  /** As SIGTERM does. */
  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server) await this.#world.until(server.stop())
    this.#over()
  }

  /** With a process end its connections. */
  #over(): void {
    this.#world.turns.end(this.life)
    for (const made of this.#lines) made.cut()
    this.#lines.clear()
    this.life = new Life(this.#world.turns)
    this.#server = undefined
  }

  /** The run is over. */
  end(): void {
    this.#world.turns.end(this.life)
    for (const made of this.#lines) made.client.destroy()
  }
}
