/** The world of one run of commands: the server on its disk, four clients of two users, and the model that watches them. */
import type { StoredEntry } from '../../core/entry.ts'
import type { Image } from '../simulation/image.ts'
import type { Line } from '../simulation/network.ts'
import { virtualTimers } from '../simulation/timers.ts'
import { Turns } from '../simulation/turns.ts'
import { Chance } from '../support/proof.ts'
import { Client, type ClientIs, inbox } from './client.ts'
import type { Wish } from './life.ts'
import { Log } from './log.ts'
import { Office } from './office.ts'
import { ServerProcess } from './process.ts'
import { type Limits, SessionModel } from './session.ts'

/** Chance that each command begins anew, so that a command that is left out changes little of the others. */
class Dice extends Chance {
  #inner: Chance
  constructor() {
    super(0)
    this.#inner = new Chance(0)
  }
  begin(seed: number): void {
    this.#inner = new Chance(seed)
  }
  override next(): number {
    return this.#inner?.next() ?? 0
  }
}

/** What nobody waits for any more after so many steps. */
const MAX_STEPS = 200_000
/** The part of a passing time that is lived through, timer by timer. */
const LIVED_MS = 300
/** Longer than cursors wait to be written, also where the server's clock is late. */
export const FLUSHED_MS = 6_000
const TOKENS_MS = 900 * 3_600_000

export class World {
  readonly dice = new Dice()
  readonly turns = new Turns(this.dice)
  readonly log = new Log(what => this.wrong(what))
  readonly server: ServerProcess
  readonly office = new Office(this)
  readonly clients: Client[]
  readonly #wrongs: string[] = []
  readonly #limits: Limits
  readonly #restore: () => void
  readonly #until = this.turns.time + TOKENS_MS
  /** Nothing was under way at the last quiet moment, and nothing was done since. */
  calm = true
  figures = { commands: 0, received: 0, acknowledged: 0, quiet: 0, crashes: 0 }

  constructor(image: Image, limits: Limits) {
    this.server = new ServerProcess(image, limits, this)
    this.#limits = limits
    const cast: Omit<ClientIs, 'password'>[] = [
      { user: 'alice', clientId: 'one', version: 4 },
      { user: 'bob', clientId: 'one', version: 5 },
      { user: 'bob', clientId: 'two', version: 4 },
      { user: 'alice', clientId: 'two', version: 5 },
    ]
    this.clients = cast.map(is => this.#client({ ...is, password: image.passwords[is.user] }))
    this.#restore = virtualTimers(() => this.server.life)
  }

  #client(is: ClientIs): Client {
    const needs = {
      user: is.user,
      name: `${is.user}/${is.clientId}`,
      log: this.log,
      limits: this.#limits,
      now: () => this.turns.time,
      wrong: (what: string) => this.wrong(what),
    }
    return new Client(is, new SessionModel(needs), this)
  }

  wrong(what: string): void {
    this.#wrongs.push(what)
  }
  /** @throws Error: the server did what the model excludes. */
  judge(): void {
    if (this.#wrongs.length > 0) throw new Error(this.#wrongs.join('\n'))
  }
  acknowledged(): void {
    this.figures.acknowledged++
  }

  // ---- the server ----

  async begin(): Promise<void> {
    await this.server.begin()
    for (const { session } of this.clients) session.restarted()
  }

  /** Most runs are about sessions that are there: all but the last client begin with one. */
  async gather(): Promise<void> {
    const all = this.clients.slice(0, -1)
    for (const client of all) await this.comesIn(client, client.lasting)
    for (const client of all) client.subscribe(inbox(client.is.user))
    await this.quiet()
  }

  /** An entry became durable. */
  appended(conversation: string, entry: StoredEntry): void {
    for (const { session } of this.clients) session.appended()
    const { seq, joined, left } = this.log.appended(conversation, entry)
    for (const { is, session } of this.clients) {
      if (left.includes(is.user)) session.left(conversation)
      if (joined.includes(is.user)) session.joined(conversation, seq)
    }
  }

  dial(): Line {
    return this.server.dial()
  }

  async crash(power: boolean): Promise<void> {
    this.figures.crashes++
    for (const client of this.clients) client.crashed(power)
    this.server.die(power)
    await this.begin()
  }

  /** SIGTERM, and a new process: nobody gets anything twice. */
  async restart(): Promise<void> {
    for (const client of this.clients) client.ended()
    await this.server.stop()
    await this.begin()
  }

  // ---- time ----

  /** So many steps of what is under way; time by itself passes in `pass`. */
  async steps(count: number): Promise<void> {
    for (let i = 0; i < count && !this.turns.idle; i++) await this.turns.step()
    this.judge()
  }

  async until<T>(work: Promise<T>): Promise<T> {
    let over = false
    const watched = work.finally(() => {
      over = true
    })
    watched.catch(() => {})
    for (let steps = 0; !over; steps++) {
      if (steps > MAX_STEPS) throw new Error('it never ends')
      await this.turns.step()
    }
    return watched
  }

  async reached(there: () => boolean): Promise<void> {
    for (let steps = 0; !there(); steps++) {
      if (steps > MAX_STEPS) throw new Error('it never comes')
      await this.turns.step()
    }
    this.judge()
  }

  /** Until CONNACK; another time where an earlier CONNECT of the client has overtaken this one. */
  async comesIn(client: Client, wish: Wish): Promise<void> {
    for (let steps = 0; !client.connected; steps++) {
      if (steps > MAX_STEPS) throw new Error(`${client.name} never comes in`)
      if (client.away) client.connect(wish)
      await this.turns.step()
      this.judge()
    }
  }

  /** Lets everything that is under way arrive, and compares. */
  async quiet(): Promise<void> {
    for (let idle = 0; idle < 4; ) {
      if (this.turns.idle) {
        idle++
        await new Promise(resolve => setImmediate(resolve))
      } else {
        idle = 0
        await this.turns.step()
      }
    }
    this.figures.quiet++
    for (const client of this.clients) {
      client.quiet()
      client.session.quiet()
    }
    this.judge()
    this.calm = true
  }

  /** Whether the tokens of the run are good for so much longer. */
  mayAge(ms: number): boolean {
    return this.turns.time + ms < this.#until
  }

  /** Quiet for so long; after enough of it what is written lazily is. */
  async pass(ms: number): Promise<void> {
    await this.quiet()
    const until = this.turns.time + ms
    this.turns.time = until - LIVED_MS
    while (this.turns.time < until) await this.turns.step()
    await this.quiet()
    if (ms >= FLUSHED_MS) for (const { session } of this.clients) session.flushed()
  }

  /** Everybody comes back and acknowledges until nothing comes any more: then nothing may be missing. */
  async settle(): Promise<void> {
    for (const client of this.clients) {
      if (client.session.frozen) client.lose('cut')
      if (client.overtaken || client.connecting) await this.quiet()
      await this.comesIn(client, client.lasting)
    }
    await this.quiet()
    while (this.clients.some(({ session }) => session.here.size > 0)) {
      for (const client of this.clients) client.acknowledgeAll()
      await this.quiet()
    }
    if (this.log.notices !== this.office.removals)
      this.wrong(`${this.log.notices} notices of ${this.office.removals} removals`)
    await this.server.readLogs()
    this.judge()
  }

  end(): void {
    for (const client of this.clients) {
      this.figures.received += client.session.received
      client.ended()
    }
    this.server.end()
    this.#restore()
  }
}
