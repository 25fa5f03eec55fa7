/** The world of one run of commands: the server on its disk, four clients of two users, and the model that watches them. */
import type { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey, Tail } from '../../core/ports.ts'
import type { Seq } from '../../protocol/ids.ts'
import { Disk } from '../simulation/disk.ts'
import { callerOf, type Image } from '../simulation/image.ts'
import { type Line, line } from '../simulation/network.ts'
import { type SimulatedServer, start } from '../simulation/server.ts'
import { virtualTimers } from '../simulation/timers.ts'
import { Life, Turns } from '../simulation/turns.ts'
import { Chance } from '../support/proof.ts'
import { Client, type ClientIs, inbox } from './client.ts'
import type { Wish } from './life.ts'
import { GROUP, Log } from './log.ts'
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

const CONVERSATIONS = [GROUP, 'u:alice:bob', 'n:alice', 'n:bob']
const PAGE = 1_000
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
  readonly clients: Client[]
  readonly #wrongs: string[] = []
  readonly #outside = new Life(this.turns)
  readonly #disk: Disk
  readonly #limits: Limits
  readonly #lines = new Set<Line>()
  readonly #restore: () => void
  #life = new Life(this.turns)
  readonly #until = this.turns.time + TOKENS_MS
  #server: SimulatedServer | undefined
  /** Nothing was under way at the last quiet moment, and nothing was done since. */
  calm = true
  figures = { commands: 0, received: 0, acknowledged: 0, quiet: 0, crashes: 0 }

  constructor(image: Image, limits: Limits) {
    this.#disk = new Disk(this.dice, image.batches)
    this.#limits = limits
    const cast: Omit<ClientIs, 'password'>[] = [
      { user: 'alice', clientId: 'one', version: 4 },
      { user: 'bob', clientId: 'one', version: 5 },
      { user: 'bob', clientId: 'two', version: 4 },
      { user: 'alice', clientId: 'two', version: 5 },
    ]
    this.clients = cast.map(is => this.#client({ ...is, password: image.passwords[is.user] }))
    this.#restore = virtualTimers(() => this.#life)
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
    const life = this.#life
    const failed = (where: string, error: unknown) => {
      const { stack, cause } = error as Error
      if (!life.over) this.wrong(`${where}: ${stack ?? error} ${cause ?? ''}`)
    }
    const starting = start({ disk: this.#disk, life, chance: this.dice, options: this.#limits, failed })
    const server = await this.until(starting)
    server.storage.log.follow((key, entry) => this.#appended(key.slice(3), entry))
    this.#server = server
    await this.readLogs()
    for (const { session } of this.clients) session.restarted()
  }

  /** Most runs are about sessions that are there: all but the last client begin with one. */
  async gather(): Promise<void> {
    const all = this.clients.slice(0, -1)
    for (const client of all) await this.comesIn(client, client.lasting)
    for (const client of all) client.subscribe(inbox(client.is.user))
    await this.quiet()
  }

  /** What is stored is what was told, and whatever became durable in the moment of a crash. */
  async readLogs(): Promise<void> {
    const log = this.#server?.storage.log
    if (!log) return
    for (const conversation of CONVERSATIONS) {
      const key = `im/${conversation}` as ConversationKey
      for (let after = 0; ; after += PAGE) {
        const page = await this.until(log.read(key, { after: after as never, limit: PAGE }))
        for (const entry of page) this.#stored(conversation, entry)
        if (page.length === 0 && after < this.log.tail(conversation))
          this.wrong(`${conversation} ends before ${this.log.tail(conversation)}`)
        if (page.length < PAGE) break
      }
      this.judge()
    }
  }
  #stored(conversation: string, entry: StoredEntry): void {
    const told = this.log.at(conversation, entry.seq)
    if (!told) this.#appended(conversation, entry)
    else if (Buffer.compare(told.bytes, entry.bytes) !== 0)
      this.wrong(`${conversation} ${entry.seq} is not what was told`)
  }

  #appended(conversation: string, entry: StoredEntry): void {
    for (const { session } of this.clients) session.appended()
    const { seq, joined, left } = this.log.appended(conversation, entry)
    for (const { is, session } of this.clients) {
      if (left.includes(is.user)) session.left(conversation)
      if (joined.includes(is.user)) session.joined(conversation, seq)
    }
  }

  dial(): Line {
    const made = line(this.#outside, this.dice)
    this.#lines.add(made)
    if (this.#server) this.#server.take(0, made.server)
    else made.cut()
    return made
  }

  async crash(power: boolean): Promise<void> {
    this.figures.crashes++
    this.turns.end(this.#life)
    for (const client of this.clients) client.crashed(power)
    for (const made of this.#lines) made.cut()
    this.#lines.clear()
    if (power) this.#disk.cutPower()
    await this.#again()
  }

  /** SIGTERM, and a new process: nobody gets anything twice. */
  async restart(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    for (const client of this.clients) client.ended()
    if (server) await this.until(server.stop())
    this.turns.end(this.#life)
    for (const made of this.#lines) made.cut()
    this.#lines.clear()
    await this.#again()
  }

  async #again(): Promise<void> {
    this.#life = new Life(this.turns)
    this.#server = undefined
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

  // ---- members ----

  async change(what: 'add' | 'remove' | 'leave'): Promise<void> {
    const core = this.#server?.core
    const isIn = this.log.isIn('bob', GROUP)
    if (!core || isIn === (what === 'add')) return
    this.log.asks(what === 'add' ? 'added' : what === 'remove' ? 'removed' : 'left', 'bob')
    if (what === 'remove') this.removals++
    const group = GROUP.slice(2)
    if (what === 'add') await this.until(core.run('addMembers', callerOf('alice'), { group, members: ['bob'] }))
    else
      await this.until(core.run('removeMember', callerOf(what === 'leave' ? 'bob' : 'alice'), { group, user: 'bob' }))
    if (this.log.isIn('bob', GROUP) === isIn) this.wrong(`bob is ${isIn ? 'still' : 'not'} in`)
  }
  removals = 0

  /** Removes the oldest entries of a conversation, up to some of all, while nothing is under way. */
  async trim(conversation: string, share: number): Promise<void> {
    const log = this.#server?.storage.log
    if (!log) return
    await this.quiet()
    const below = 1 + Math.floor(share * this.log.tail(conversation))
    const key = `im/${conversation}` as ConversationKey
    await this.until(log.trim(key, below as Seq))
    const [tail] = await this.until(log.tails([key]))
    const { first } = tail as Tail
    if (first > Math.max(below, this.log.first(conversation))) this.wrong(`${conversation} begins at ${first}`)
    this.log.trims.set(conversation, [...(this.log.trims.get(conversation) ?? []), first])
  }

  /** So many entries at once. */
  async flood(count: number): Promise<void> {
    const core = this.#server?.core
    if (!core) return
    const all = Array.from({ length: count }, () => {
      const nth = ++this.#flooded
      const text = `office ${nth}`
      this.log.published({ text, conversation: GROUP, from: 'alice', client: 'office', nth })
      return core.run('sendMessage', callerOf('alice'), { conversation: GROUP, text })
    })
    await this.until(Promise.all(all))
  }
  #flooded = 0

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
    if (this.log.notices !== this.removals) this.wrong(`${this.log.notices} notices of ${this.removals} removals`)
    await this.readLogs()
    this.judge()
  }

  end(): void {
    this.turns.end(this.#life)
    for (const client of this.clients) {
      this.figures.received += client.session.received
      client.ended()
    }
    for (const made of this.#lines) made.client.destroy()
    this.#restore()
  }
}
