/**
 * One round of a fault run: users of its own in pairs and one group of all, spread over the servers, who talk while something
 * is broken; when it is whole again everyone gets what is theirs, and the checker judges what they did and saw.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as after } from 'node:timers/promises'
import { check } from '../checker/check.ts'
import { readHistory } from '../checker/file.ts'
import { VERDICTS } from '../checker/history.ts'
import { Letters } from '../crash/letters.ts'
import { Recorder } from '../crash/recorder.ts'
import type { Person } from '../support/person.ts'
import { Chance } from '../support/proof.ts'
import type { TestServer } from '../support/server.ts'
import { conversationsOf, type Ends, ends, type Other, owed } from './due.ts'
import { type Outcome, overlooked, shortened } from './judging.ts'
import { Roamer, type Told } from './roamer.ts'

/** How long what is acknowledged may take to reach everyone once nothing is broken any more; half of it is too long. */
const SETTLE_MS = 60_000
/** Lines that are cut a second, over all users: sessions move also where nothing is broken. */
const CUTS_PER_SECOND = 2
/** The share of messages with a clientMessageId; the others are known by session and packet id. */
const NAMED = 0.5
/** One of so many pairs begins to speak when something breaks: nobody has heard of its conversation before. */
const SHY = 4
/** Accounts made at once: each costs a slow hash. */
const AT_ONCE = 4

export interface RoundOptions {
  servers: readonly TestServer[]
  seed: number
  /** Even; pairs of them talk, and all of them in one group. */
  users: number
  /** Messages a second, over all users. */
  perSecond: number
}

export class Round {
  readonly chance: Chance
  readonly recorder: Recorder
  readonly #directory: string
  readonly #options: RoundOptions
  readonly group: string
  readonly told: Told = new Map()
  people: Person[] = []
  roamers: Roamer[] = []
  /** Where conversations were when further sessions began: they have to get what came since. */
  readonly #begins = new Map<Other, Ends>()
  /** Has those speak to each other who have not yet. */
  readonly #shy: (() => void)[] = []
  #silence = { last: 0, longest: 0 }
  readonly #awaited = new Map<string, () => void>()
  #cutting: NodeJS.Timeout | undefined

  private constructor(options: RoundOptions) {
    this.#options = options
    this.chance = new Chance(options.seed)
    this.#directory = mkdtempSync(join(tmpdir(), 'im-faults-'))
    this.recorder = new Recorder(join(this.#directory, 'history.ndjson'))
    this.group = `r${process.pid}-${options.seed.toString(36)}-${Math.floor(performance.now())}`
  }

  /** Everyone is connected and talks. */
  static async begin(options: RoundOptions): Promise<Round> {
    const round = new Round(options)
    await round.#invite()
    for (const roamer of round.roamers) roamer.start()
    await Promise.all(round.roamers.map(({ ready }) => ready))
    // What is said before somebody has subscribed need not come to them, and everyone is asked for everything at the end.
    for (const roamer of round.roamers) roamer.talk()
    round.#silence = { last: performance.now(), longest: 0 }
    round.#cutting = setInterval(() => round.chance.of(round.roamers).cut(), 1000 / CUTS_PER_SECOND)
    return round
  }

  async #invite(): Promise<void> {
    const { servers, users, perSecond } = this.#options
    const { chance, recorder } = this
    const names = Array.from({ length: users }, (_, i) => `${this.group}-${i}`)
    for (let at = 0; at < users; at += AT_ONCE)
      this.people.push(
        ...(await Promise.all(
          names.slice(at, at + AT_ONCE).map((name, i) => (servers[i % servers.length] as TestServer).register(name)),
        )),
      )
    const [first, ...others] = this.people
    await first?.group(this.group, ...others)
    const acked = recorder.acked.bind(recorder)
    recorder.acked = text => {
      this.#breathe()
      acked(text)
    }
    const came = recorder.came.bind(recorder)
    recorder.came = (connection, session, user, payload, dup) => {
      for (const [text, heard] of this.#awaited) if (payload.includes(text)) heard()
      came(connection, session, user, payload, dup)
    }
    const place = { recorder, servers, chance, paceMs: (1000 * users) / perSecond }
    this.roamers = this.people.map((person, i) => {
      const peer = names[i ^ 1] as string
      // A message to the group reaches all of them, so that most are between two.
      const peers = [`g:${this.group}`]
      const speak = () => peers.push(peer, peer, peer)
      if (Math.floor(i / 2) % SHY === SHY - 1) this.#shy.push(speak)
      else speak()
      const letters = new Letters(person.user, person.user, peers, new Chance(chance.below(2 ** 32)), NAMED)
      return new Roamer(place, person, i % 4 === 3 ? 4 : 5, letters, this.told)
    })
  }

  #breathe(): void {
    const now = performance.now()
    this.#silence.longest = Math.max(this.#silence.longest, now - this.#silence.last)
    this.#silence.last = now
  }

  /** Resolves when somebody gets that text. */
  hears(text: string): Promise<void> {
    return new Promise(resolve => this.#awaited.set(text, resolve))
  }

  /** Some load, whose end the seed decides. */
  some(): Promise<void> {
    const { perSecond } = this.#options
    return this.load(perSecond / 2 + this.chance.below(2 * perSecond))
  }

  /** Until so many more are acknowledged. */
  async load(count: number): Promise<void> {
    const { recorder } = this
    const goal = recorder.acknowledged + count
    await recorder.until(() => recorder.acknowledged >= goal)
  }

  /** A message of the first user to the group by REST, written down like all others. */
  async post(text: string): Promise<{ status: number; code: string | undefined }> {
    const { recorder, group, people } = this
    const [person] = people as [Person]
    const { user: from } = person
    const conversation = `g:${group}`
    recorder.add({ do: 'sent', at: recorder.now(), connection: recorder.connection('rest'), from, conversation, text })
    const { status, body } = await person.api('POST', `/conversations/${conversation}/messages`, { text })
    if (status < 300) recorder.acked(text)
    return { status, code: (body as { code?: string }).code }
  }

  /** Further sessions, which have subscribed. */
  async add(...others: Other[]): Promise<void> {
    const begin = await ends(this)
    for (const one of others) this.#begins.set(one, begin)
  }

  /** Something is broken from now on. */
  breaks(what: string): void {
    const { recorder } = this
    for (const speak of this.#shy.splice(0)) speak()
    recorder.add({ do: 'fault', at: recorder.now(), what, begins: true })
  }
  mended(what: string): void {
    const { recorder } = this
    recorder.add({ do: 'fault', at: recorder.now(), what })
  }

  /** Everyone gets what is theirs, or a minute is over; then all that was done and seen is judged. */
  async judge(): Promise<Outcome> {
    const { recorder, roamers } = this
    clearInterval(this.#cutting)
    const stoppedAt = performance.now()
    const all: Other[] = [...roamers, ...this.#begins.keys()]
    for (const one of all) one.stop?.()
    const busy = () => all.filter(({ idle = true }) => !idle)
    if (await this.#inTime(() => busy().length === 0))
      recorder.problems.push(`still without an answer after ${SETTLE_MS} ms: ${busy().map(({ name }) => name)}`)
    await this.#caughtUp(all)
    const caughtUpMs = performance.now() - stoppedAt
    for (const [id, person] of conversationsOf(this)) await recorder.log(person, id)
    this.end()
    recorder.close()
    const history = [...readHistory(recorder.path)]
    const found = check(history, { settleMs: 0 })
    if (found.length === 0) recorder.problems.push(...overlooked(history, this.chance))
    const count = (verdict: string) => found.filter(one => one.verdict === verdict).length
    const { acknowledged, received } = recorder
    return {
      ...{ acknowledged, received, caughtUpMs, told: this.told, silenceMs: this.#silence.longest },
      moves: roamers.reduce((sum, { moves }) => sum + moves, 0),
      verdicts: Object.fromEntries(VERDICTS.map(verdict => [verdict, count(verdict)])),
      says: [...shortened(found), ...recorder.problems],
      history: recorder.path,
    }
  }

  /** All connections of it. */
  end(): void {
    clearInterval(this.#cutting)
    for (const session of [...this.roamers, ...this.#begins.keys()]) session.end()
  }

  /** The history is not needed any more. */
  forget(): void {
    rmSync(this.#directory, { recursive: true, force: true })
  }

  async #caughtUp(all: readonly Other[]): Promise<void> {
    const { recorder } = this
    const newest = await ends(this)
    const due = all.flatMap(one => owed(one, newest, this.#begins.get(one)).map(end => ({ one, ...end })))
    const has = ({ one, id, seq }: (typeof due)[0]) => recorder.has(one.name, id, seq)
    const patience = setTimeout(() => {
      for (const { one, id, seq } of due.filter(one => !has(one)).slice(0, 5))
        recorder.problems.push(`late: ${one.name} on ${one.on ?? 'any'} waits for ${id} ${seq}`)
    }, SETTLE_MS / 2)
    await this.#inTime(() => due.every(has))
    clearTimeout(patience)
  }

  /** Whether the time was over first. */
  async #inTime(done: () => boolean): Promise<boolean> {
    const patience = new AbortController()
    const over = after(SETTLE_MS, true, { signal: patience.signal }).catch(() => true)
    const late = await Promise.race([this.recorder.until(done).then(() => false), over])
    patience.abort()
    return late
  }
}
