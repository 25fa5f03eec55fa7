/**
 * Items as rows of a keyspace. Each is written with a timestamp before all that servers write by, and the same row always
 * with the same one, so order does not matter and what is written again changes nothing.
 */
import { StoredEntry } from '../../core/entry.ts'
import type { Table } from '../../core/ports.ts'
import type { ConversationItem, EntryItem, Item, RecordItem, RemainsItem, RepeatItem } from '../archive.ts'
import { part } from '../shape.ts'
import { homeOf } from './cells.ts'
import { type Ends, hintBucket, markFirst, markForgotten, markFreed, markSettled } from './ends.ts'
import { repeatName } from './entries.ts'
import { entriesOf, putEntry } from './places.ts'
import type { Statement } from './ring.ts'

/** A statement, and the partition that it writes to. */
export type Placed = readonly [partition: string, statement: Statement]

/** What is supposed of a bucket's end, and what is known of it. */
const SUPPOSED = 1
const KNOWN = 2

export class Filling {
  readonly #ends: Ends
  readonly #tables: ReadonlyMap<string, Table<never>>

  /** `tables`: those that are spread or have indexes. */
  constructor(ends: Ends, tables: readonly Table<never>[]) {
    this.#ends = ends
    this.#tables = new Map(tables.map(table => [table.name, table]))
  }

  of(item: Item): Placed[] {
    switch (item.kind) {
      case 'conversation':
        return this.#conversation(item)
      case 'entry':
        return this.#entry(item)
      case 'remains':
        return [this.#remains(item)]
      case 'repeat':
        return [this.#repeat(item)]
      case 'record':
        return this.#record(item)
      default:
        return item satisfies never
    }
  }

  #conversation({ conversation, seq, n, sentAt, first, forgotten }: ConversationItem): Placed[] {
    const last = this.#ends.bucketOf(seq)
    const tails = Array.from({ length: last }, (_, bucket) => {
      const to = this.#ends.lastOf(bucket)
      // No later than that. Where repeats are forgotten, none is looked for.
      return this.#tail(conversation, bucket, { seq: to, n, sentAt: to <= forgotten ? 0 : sentAt }, SUPPOSED)
    })
    const heads: Statement[] = [
      ...(last > 0 ? [hintBucket(conversation, last)] : []),
      markSettled(conversation, seq),
      ...(first > 1 ? [markFirst(conversation, first), markFreed(conversation, first)] : []),
      ...(forgotten > 0 ? [markForgotten(conversation, forgotten)] : []),
    ]
    return [
      ...tails,
      this.#tail(conversation, last, { seq, n, sentAt }, KNOWN),
      ...heads.map((head): Placed => [`heads\0${conversation}`, head]),
    ]
  }

  #tail(
    conversation: string,
    bucket: number,
    { seq, n, sentAt }: Pick<ConversationItem, 'seq' | 'n' | 'sentAt'>,
    stamp: number,
  ): Placed {
    const set =
      'UPDATE log USING TIMESTAMP ? SET tail = ?, tail_n = ?, tail_at = ? WHERE conversation = ? AND bucket = ?'
    return [partitionOf(conversation, bucket), [set, [stamp, seq, n, sentAt, conversation, bucket]]]
  }

  #entry({ conversation, seq, n, entryKind, from, sentAt, retracted, json }: EntryItem): Placed[] {
    const bucket = this.#ends.bucketOf(seq)
    const facts = { seq, n, kind: entryKind, from, sentAt }
    const by = retracted && (new StoredEntry(facts, Buffer.from(json)).entry.retracted ?? 'recall')
    const set = `UPDATE log USING TIMESTAMP ${KNOWN} SET kind = ?, sender = ?, n = ?, sent_at = ?, entry = ?${by ? ', retracted = ?' : ''}
      WHERE conversation = ? AND bucket = ? AND seq = ? AND name = ''`
    const values = [entryKind, from, n, sentAt, json, ...(by ? [by] : []), conversation, bucket, seq]
    const put: Placed = [partitionOf(conversation, bucket), [set, values]]
    return seq === this.#ends.lastOf(bucket)
      ? [put, this.#tail(conversation, bucket, { seq, n, sentAt }, KNOWN)]
      : [put]
  }

  #remains({ conversation, seq, n, entryKind, from, sentAt, json }: RemainsItem): Placed {
    const bucket = this.#ends.bucketOf(seq)
    const { clientMessageId } = JSON.parse(json) as { clientMessageId: string }
    const set = `UPDATE log USING TIMESTAMP ${KNOWN} SET kind = ?, sender = ?, n = ?, sent_at = ?, entry = ?
      WHERE conversation = ? AND bucket = ? AND seq = 0 AND name = ?`
    const name = repeatName(from, clientMessageId)
    return [partitionOf(conversation, bucket), [set, [entryKind, from, n, sentAt, json, conversation, bucket, name]]]
  }

  #repeat({ conversation, from, clientMessageId, seq, crc, length }: RepeatItem): Placed {
    const bucket = this.#ends.bucketOf(seq)
    // As an insert: the row is there with its columns alone, for conditions that ask whether it is.
    const set = `INSERT INTO log (conversation, bucket, seq, name, target, fingerprint) VALUES (?, ?, 0, ?, ?, ?) USING TIMESTAMP ${KNOWN}`
    const name = repeatName(from, part(clientMessageId))
    return [partitionOf(conversation, bucket), [set, [conversation, bucket, name, seq, `${crc} ${length}`]]]
  }

  /** With its version as timestamp: that is a ranked row's, and before those of all later writes of another. */
  #record({ table: name, partition, key, version, json }: RecordItem): Placed[] {
    const table = this.#tables.get(name) ?? { name }
    const home = homeOf(table, { partition, key })
    const set = `UPDATE records USING TIMESTAMP ? SET row = ?, version = ? WHERE home = ? AND tbl = ? AND partition = ? AND key = ?`
    const row: Placed = [`records\0${home}`, [set, [version, json, version, home, name, part(partition), part(key)]]]
    const entries = entriesOf({ home, table, partition, key }, json)
    return [
      row,
      ...entries.map(
        (entry): Placed => [`index\0${name}\0${entry.index}\0${entry.partition}`, putEntry(entry, version)],
      ),
    ]
  }
}

const partitionOf = (conversation: string, bucket: number) => `log\0${conversation}\0${bucket}`
