/** Messages that are taken back: in the bucket of the entry that says so, or set aside in another until that one decides. */
import type { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { Seq } from '../../protocol/ids.ts'
import type { Decisions, Lock } from './decisions.ts'
import type { Ring, Row, Statement, Value } from './ring.ts'

export interface Target {
  seq: Seq
  bucket: number
  tombstone: StoredEntry
  /** What kind of entry takes it back. */
  by: string
}

/** What lies in an entry's `lock`. */
interface Aside extends Pick<Lock, 't' | 'at'> {
  entry: string
  retracted: string
}

const AT = `WHERE conversation = ? AND bucket = ? AND seq = ? AND name = ''`

/** Of the same bucket as the entry that takes it back. */
export const retracting = (conversation: ConversationKey, { seq, bucket, tombstone, by }: Target): Statement => [
  `UPDATE log SET entry = ?, retracted = ? ${AT} IF retracted = null`,
  [textOf(tombstone), by, conversation, bucket, seq],
]

const textOf = ({ bytes }: StoredEntry) => Buffer.from(bytes).toString()
const lockOf = ({ t, at }: Pick<Lock, 't' | 'at'>, { tombstone, by }: Target): string =>
  JSON.stringify({ t, at, entry: textOf(tombstone), retracted: by } satisfies Aside)

export class Retractions {
  readonly #ring: Ring
  readonly #decisions: Decisions
  readonly #bucketOf: (seq: number) => number

  constructor(ring: Ring, decisions: Decisions, bucketOf: (seq: number) => number) {
    this.#ring = ring
    this.#decisions = decisions
    this.#bucketOf = bucketOf
  }

  /** The message says what it is to become; not where it is gone, taken back or set aside already. */
  async setAside(conversation: ConversationKey, target: Target, transaction: Pick<Lock, 't' | 'at'>): Promise<boolean> {
    const lock = lockOf(transaction, target)
    const place: Value[] = [conversation, target.bucket, target.seq]
    const { outcome, cause } = await this.#ring.compareAndSet([
      [`UPDATE log SET lock = ? ${AT} IF kind = 'message' AND retracted = null AND lock = null`, [lock, ...place]],
    ])
    if (outcome !== 'unknown') return outcome === 'applied'
    try {
      const [row] = await this.#ring.readSerial(`SELECT lock FROM log ${AT}`, place)
      return row?.lock === lock
    } catch {
      throw new Fault('log-unavailable', {}, { cause })
    }
  }

  /** What was decided happens to the message. What cannot now does when it is read. */
  async settle(
    conversation: ConversationKey,
    target: Target,
    transaction: Pick<Lock, 't' | 'at'>,
    outcome: 'done' | 'off',
  ): Promise<void> {
    await this.#finish(conversation, target.seq, lockOf(transaction, target), outcome)
  }

  /** An entry's row as it was decided. It has its lock where nothing is decided yet. @throws Fault `log-unavailable` */
  async seen(conversation: ConversationKey, row: Row): Promise<Row> {
    if (typeof row.lock !== 'string') return row
    const { entry, retracted, ...transaction } = JSON.parse(row.lock) as Aside
    const outcome = await this.#decisions.decided(transaction)
    if (!outcome) return row
    await this.#finish(conversation, Number(row.seq), row.lock, outcome)
    return outcome === 'done' ? { ...row, entry, retracted, lock: null } : { ...row, lock: null }
  }

  async #finish(conversation: ConversationKey, seq: number, lock: string, outcome: 'done' | 'off'): Promise<void> {
    const { entry, retracted } = JSON.parse(lock) as Aside
    const place: Value[] = [conversation, this.#bucketOf(seq), seq]
    await this.#ring.compareAndSet([
      outcome === 'done'
        ? [`UPDATE log SET entry = ?, retracted = ?, lock = null ${AT} IF lock = ?`, [entry, retracted, ...place, lock]]
        : [`UPDATE log SET lock = null ${AT} IF lock = ?`, [...place, lock]],
    ])
  }
}
