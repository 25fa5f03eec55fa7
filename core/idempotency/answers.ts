/** Answers that are kept, each for one request of one caller. */
import { Fault, isConflict } from '../../protocol/faults.ts'
import type { EpochMs } from '../../protocol/ids.ts'
import {
  type Answer,
  type Change,
  put,
  type Random,
  type Records,
  remove,
  type Scheduler,
  sortable,
  table,
} from '../ports.ts'
import { randomText } from '../secrets.ts'
import { Seal } from './seal.ts'

/** Partition: app/member; key: made of the operation and the Idempotency-Key, which itself is not kept. */
export interface AnswerRow {
  /** HMAC of the request: another one under the same key is refused. */
  request: string
  /** Who does it, by a name for this once; the row is written anew as long as that goes on. */
  by: string
  since: EpochMs
  /** Absent while it is being done. */
  status?: number
  /** Sealed by the key, as it may hold a secret that was handed out. */
  body?: string
}

const KEEP_MS = 24 * 3_600_000
/** Longer than anybody could still be at it. */
const GONE_MS = 2 * KEEP_MS
export const ANSWERS = table<AnswerRow>(
  'answers',
  { over: ({ since }) => ({ partition: 'over', sort: sortable(since + GONE_MS) }) },
  { spread: true },
)
/** Whoever does it says so this often. */
const BEAT_MS = 5_000
/** Where an answer cannot be kept, so often: two minutes. */
const TRIES = 24

export interface SlotNeeds {
  records: Pick<Records, 'get' | 'scan' | 'write'>
  scheduler: Pick<Scheduler, 'now' | 'after'>
  random: Random
}
interface Place {
  partition: string
  key: string
  request: string
  /** 256 bits that only who has the key can make. */
  secret: Uint8Array
}
type Outcome = Pick<AnswerRow, 'status' | 'body'>
/** What is known of a request: `answer`, or `doing`, which changes as long as somebody is at it, or neither. */
interface Look {
  version: number
  doing?: string
  answer?: Answer
}

export class Slot {
  readonly #needs: SlotNeeds
  readonly #place: Place
  readonly #seal: Seal
  readonly #by: string
  #since: EpochMs = 0

  constructor(place: Place, needs: SlotNeeds) {
    this.#needs = needs
    this.#place = place
    this.#seal = new Seal(place.secret, needs.random)
    this.#by = randomText(needs.random, 12)
  }

  /** @throws Fault `malformed`: the key was used for a different request. */
  async look(): Promise<Look> {
    const found = await this.#find()
    if (!found) return { version: 0 }
    const { row, version } = found
    if (row.since + KEEP_MS <= this.#needs.scheduler.now()) return { version }
    if (row.request !== this.#place.request) throw malformedKey('It was used for a different request.')
    const { status, body, by } = row
    if (status === undefined) return { version, doing: `${by} ${version}` }
    return { version, answer: { status, ...(body !== undefined && { body: this.#seal.open(body) }) } }
  }

  /** Whether it is this one that does it now; `version`: of the last look. */
  async begin(version: number): Promise<boolean> {
    this.#since = this.#needs.scheduler.now()
    try {
      await this.#write(this.#put({}, version), false)
      return true
    } catch (thrown) {
      if (isConflict(thrown)) return false
      throw thrown
    }
  }

  async perform(act: () => Promise<Answer>): Promise<Answer> {
    const stop = this.#beat()
    try {
      const { status, body } = await act()
      await stop()
      const outcome = { status, ...(body && { body: this.#seal.close(body) }) }
      // It is done, and said to be, also where that cannot be kept now.
      if (!(await this.#keep(outcome))) void this.#keepLater(outcome)
      return { status, ...(body && { body }) }
    } catch (thrown) {
      await stop()
      // Nothing is left of a refusal: it may be tried again at once.
      await this.#change(({ version }) => remove(ANSWERS, ...this.#at, version)).catch(() => {})
      throw thrown
    }
  }

  /** Whether that is settled. */
  #keep(outcome: Outcome): Promise<boolean> {
    return this.#change(({ version }) => this.#put(outcome, version)).then(
      () => true,
      () => false,
    )
  }

  /** Storage is away: a repeat finds nothing new as soon as it is back, so this one has to be first. */
  async #keepLater(outcome: Outcome): Promise<void> {
    for (let tries = 0; tries < TRIES; tries++) {
      await new Promise<void>(resolve => this.#needs.scheduler.after(BEAT_MS, resolve))
      if (await this.#keep(outcome)) return
    }
  }

  /** Says that it is being done until the returned function is called, which resolves when nothing more of that is written. */
  #beat(): () => Promise<unknown> {
    let beat: Promise<unknown> = Promise.resolve()
    let cancel = () => {}
    let isOver = false
    const next = () => {
      if (isOver) return
      cancel = this.#needs.scheduler.after(BEAT_MS, () => {
        beat = this.#change(({ version }) => this.#put({}, version))
          .catch(() => {})
          .then(next)
      })
    }
    next()
    return () => {
      isOver = true
      cancel()
      return beat
    }
  }

  /** Nothing, where somebody else has taken it up. */
  async #change(to: (found: { version: number }) => Change): Promise<void> {
    const found = await this.#find()
    if (found?.row.by === this.#by) await this.#write(to(found), true)
  }

  get #at(): [string, string] {
    return [this.#place.partition, this.#place.key]
  }
  #find() {
    return this.#needs.records.get(ANSWERS, ...this.#at)
  }
  #put(outcome: Outcome, version: number): Change {
    const { request } = this.#place
    const row: AnswerRow = { request, by: this.#by, since: this.#since, ...outcome }
    return put(ANSWERS, ...this.#at, row, version)
  }
  #write(change: Change, durable: boolean): Promise<void> {
    return this.#needs.records.write([change], { durable })
  }
}

export const malformedKey = (message: string) =>
  new Fault('malformed', { issues: [{ path: ['Idempotency-Key'], message }] })
