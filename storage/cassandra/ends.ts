/** Where conversations end: the tail of their last bucket, found by a hint, and what of it is settled and removed. */
import type { ConversationKey, Tail } from '../../core/ports.ts'
import type { Seq } from '../../protocol/ids.ts'
import type { Ring, Row, Statement } from './ring.ts'

export interface End extends Tail {
  /** The last bucket that has an entry; 0 where none has. */
  bucket: number
  /** The record changes of every entry up to here are made. */
  settled: number
}

export class Ends {
  readonly #ring: Ring
  /** Entries of a bucket; the same for ever, as positions are found by it. */
  readonly #size: number

  constructor(ring: Ring, size: number) {
    this.#ring = ring
    this.#size = size
  }

  bucketOf(seq: number): number {
    return Math.floor((Math.max(seq, 1) - 1) / this.#size)
  }
  firstOf(bucket: number): Seq {
    return (bucket * this.#size + 1) as Seq
  }
  lastOf(bucket: number): Seq {
    return ((bucket + 1) * this.#size) as Seq
  }

  /** `serial`: what is under way in the last bucket has ended, as there or as never to be. */
  async find(conversation: ConversationKey, serial = false): Promise<End> {
    const [head] = await this.#ring.read('SELECT bucket, settled, first FROM heads WHERE conversation = ?', [
      conversation,
    ])
    const settled = Number(head?.settled ?? 0)
    const first = Number(head?.first ?? 1) as Seq
    // The hint is written before the bucket has anything.
    let bucket = Number(head?.bucket ?? 0)
    let row = await this.#tail(conversation, bucket, serial)
    if (!row && bucket > 0) row = await this.#tail(conversation, --bucket, serial)
    while (row && Number(row.tail) === this.lastOf(bucket)) {
      const next = await this.#tail(conversation, bucket + 1, serial)
      if (!next) break
      row = next
      bucket++
    }
    if (!row) return { seq: 0, n: 0, sentAt: 0, first, bucket: 0, settled }
    return {
      ...{ seq: Number(row.tail) as Seq, n: Number(row.tail_n), sentAt: Number(row.tail_at) },
      ...{ first, bucket, settled },
    }
  }

  async #tail(conversation: ConversationKey, bucket: number, serial: boolean): Promise<Row | undefined> {
    const query = 'SELECT tail, tail_n, tail_at FROM log WHERE conversation = ? AND bucket = ? LIMIT 1'
    const read = serial
      ? this.#ring.readSerial(query, [conversation, bucket])
      : this.#ring.read(query, [conversation, bucket])
    const [row] = await read
    return row && row.tail !== null ? row : undefined
  }
}

/** Moves the end of a bucket, if it is still where it was. */
export function moveTail(conversation: ConversationKey, bucket: number, from: number | null, to: Tail): Statement {
  return [
    'UPDATE log SET tail = ?, tail_n = ?, tail_at = ? WHERE conversation = ? AND bucket = ? IF tail = ?',
    [to.seq, to.n, to.sentAt, conversation, bucket, from],
  ]
}

/** A number of a conversation that only goes up: written with itself as timestamp, so that the highest stays. */
const marking =
  (column: 'bucket' | 'settled' | 'first' | 'freed' | 'forgotten') =>
  (conversation: ConversationKey, value: number): Statement => [
    `UPDATE heads USING TIMESTAMP ? SET ${column} = ? WHERE conversation = ?`,
    [value, value, conversation],
  ]
export const hintBucket = marking('bucket')
export const markSettled = marking('settled')
export const markFirst = marking('first')
export const markFreed = marking('freed')
export const markForgotten = marking('forgotten')
