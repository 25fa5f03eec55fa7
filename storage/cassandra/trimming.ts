/** Removing old entries: whole buckets, but for what finds repeats, which goes when nobody asks for it any more. */
import type { ConversationKey } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { Seq } from '../../protocol/ids.ts'
import { type End, markFirst, markForgotten, markFreed } from './ends.ts'
import { entryOf, remainsOf, repeatName } from './entries.ts'
import type { Shared } from './log.ts'
import { KNOWN_ENTRIES, KNOWN_MS } from './repeats.ts'
import type { Row, Statement } from './ring.ts'

/** What stays of entries is written so many at a time. */
const AT_ONCE = 200
/** Before what has no known outcome is written again. */
const PAUSES_MS = [20, 100, 500]

export async function trim(shared: Shared, conversation: ConversationKey, below: Seq): Promise<void> {
  const { ends, ring } = shared
  const end = await ends.find(conversation)
  if (end.seq === 0) return
  const wanted = ends.firstOf(ends.bucketOf(Math.min(below, end.seq)))
  if (wanted > end.first) await ring.write([markFirst(conversation, wanted)])
  const first = Math.max(wanted, end.first) as Seq
  const [head] = await ring.read('SELECT freed, forgotten FROM heads WHERE conversation = ?', [conversation])
  const forgotten = Number(head?.forgotten ?? 0)
  for (let bucket = ends.bucketOf(Number(head?.freed ?? 1)); ends.lastOf(bucket) < first; bucket++) {
    await empty(shared, conversation, bucket, forgotten)
    await ring.write([markFreed(conversation, ends.firstOf(bucket + 1))])
  }
  await forget(shared, conversation, { ...end, first }, forgotten)
}

/** A bucket that is full and whose entries nobody reads any more. Other servers may be at it as well. */
async function empty(shared: Shared, conversation: ConversationKey, bucket: number, forgotten: number): Promise<void> {
  const { ring, ends, retractions } = shared
  const columns = 'seq, kind, sender, n, sent_at, entry, retracted, lock'
  const query = `SELECT ${columns} FROM log WHERE conversation = ? AND bucket = ? AND seq > ?`
  const found = await ring.read(query, [conversation, bucket, forgotten])
  const rows = await ring.each(found, row => retractions.seen(conversation, row))
  const holds = holdsAt(conversation, bucket, ends.lastOf(bucket))
  const remains = rows.flatMap(row => keep(conversation, bucket, row))
  for (let at = 0; at < remains.length; at += AT_ONCE) {
    const some = remains.slice(at, at + AT_ONCE)
    // Where somebody has removed one of them already, the others stay all the same.
    if (!(await set(shared, [holds, ...some]))) for (const one of some) await set(shared, [holds, one])
  }
  await set(shared, [
    holds,
    ['DELETE FROM log WHERE conversation = ? AND bucket = ? AND seq > 0', [conversation, bucket]],
  ])
}

/** Every write to a bucket is conditional: one that were not would lose against those with a clock ahead. */
const holdsAt = (conversation: ConversationKey, bucket: number, tail: number): Statement => [
  'UPDATE log SET tail = ? WHERE conversation = ? AND bucket = ? IF tail = ?',
  [tail, conversation, bucket, tail],
]

function keep(conversation: ConversationKey, bucket: number, row: Row): Statement[] {
  const { entry } = entryOf(row)
  const { clientMessageId } = entry.entry
  const remains = remainsOf(entry)
  if (typeof clientMessageId !== 'string' || remains === undefined) return []
  return [
    [
      `UPDATE log SET kind = ?, sender = ?, n = ?, sent_at = ?, entry = ?
       WHERE conversation = ? AND bucket = ? AND seq = 0 AND name = ? IF target = ?`,
      [
        ...[entry.kind, entry.from, entry.n, entry.sentAt, remains],
        ...[conversation, bucket, repeatName(entry.from, clientMessageId), entry.seq],
      ],
    ],
  ]
}

/** What finds repeats in buckets where none is looked for any more. */
async function forget(
  shared: Shared,
  conversation: ConversationKey,
  { seq, first }: End,
  forgotten: number,
): Promise<void> {
  const { ring, ends, clock } = shared
  const below = Math.min(first - 1, seq - KNOWN_ENTRIES)
  for (let bucket = ends.bucketOf(forgotten + 1); ends.lastOf(bucket) <= below; bucket++) {
    const query = 'SELECT tail_at FROM log WHERE conversation = ? AND bucket = ? LIMIT 1'
    const [row] = await ring.read(query, [conversation, bucket])
    if (!row || Number(row.tail_at) >= clock.now() - KNOWN_MS) return
    const last = ends.lastOf(bucket)
    await set(shared, [
      holdsAt(conversation, bucket, last),
      [
        `DELETE FROM log WHERE conversation = ? AND bucket = ? AND seq = 0 AND name >= 'c:' AND name < 'c;'`,
        [conversation, bucket],
      ],
    ])
    await ring.write([markForgotten(conversation, last)])
  }
}

/**
 * Whether its conditions held. Replicas that several servers ask at once may leave it open whether it was written: it is written
 * again, as twice is the same as once.
 */
async function set({ ring, pause }: Shared, statements: readonly Statement[]): Promise<boolean> {
  for (let tries = 0; ; tries++) {
    const { outcome, cause } = await ring.compareAndSet(statements)
    if (outcome !== 'unknown') return outcome === 'applied'
    const ms = PAUSES_MS[tries]
    if (ms === undefined) throw new Fault('log-unavailable', {}, { cause })
    await pause(ms)
  }
}
