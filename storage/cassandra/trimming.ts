/** Removing old entries: whole buckets, but for what finds repeats. */
import type { ConversationKey } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { Seq } from '../../protocol/ids.ts'
import { markFirst } from './ends.ts'
import { entryOf, repeatName } from './entries.ts'
import type { Shared } from './log.ts'
import type { Row, Statement } from './ring.ts'

/** What stays of entries is written so many at a time. */
const AT_ONCE = 200

export async function trim(shared: Shared, conversation: ConversationKey, below: Seq): Promise<void> {
  const { ends, ring } = shared
  const end = await ends.find(conversation)
  const wanted = ends.firstOf(ends.bucketOf(Math.min(below, end.seq)))
  if (end.seq === 0 || wanted <= end.first) return
  await ring.write([markFirst(conversation, wanted)])
  for (let bucket = ends.bucketOf(end.first); bucket < ends.bucketOf(wanted); bucket++)
    await empty(shared, conversation, bucket)
}

/** A bucket that is full and whose entries nobody reads any more. */
async function empty(
  { ring, ends, retractions }: Shared,
  conversation: ConversationKey,
  bucket: number,
): Promise<void> {
  const columns = 'seq, kind, sender, n, sent_at, entry, retracted, lock'
  const query = `SELECT ${columns} FROM log WHERE conversation = ? AND bucket = ? AND seq > 0`
  const found = await ring.read(query, [conversation, bucket])
  const rows = await ring.each(found, row => retractions.seen(conversation, row))
  const holds: Statement = [
    'UPDATE log SET tail = ? WHERE conversation = ? AND bucket = ? IF tail = ?',
    [ends.lastOf(bucket), conversation, bucket, ends.lastOf(bucket)],
  ]
  const remains = rows.flatMap(row => remainsOf(conversation, bucket, row))
  for (let at = 0; at < remains.length; at += AT_ONCE) await set(ring, [holds, ...remains.slice(at, at + AT_ONCE)])
  await set(ring, [
    holds,
    ['DELETE FROM log WHERE conversation = ? AND bucket = ? AND seq > 0', [conversation, bucket]],
  ])
}

function remainsOf(conversation: ConversationKey, bucket: number, row: Row): Statement[] {
  const { entry } = entryOf(row)
  const { id, type, clientMessageId, retracted } = entry.entry
  if (typeof clientMessageId !== 'string') return []
  return [
    [
      `UPDATE log SET kind = ?, sender = ?, n = ?, sent_at = ?, entry = ?
       WHERE conversation = ? AND bucket = ? AND seq = 0 AND name = ?`,
      [
        ...[entry.kind, entry.from, entry.n, entry.sentAt],
        ...[JSON.stringify({ id, type, clientMessageId, retracted })],
        ...[conversation, bucket, repeatName(entry.from, clientMessageId)],
      ],
    ],
  ]
}

async function set(ring: Shared['ring'], statements: readonly Statement[]): Promise<void> {
  const { outcome, cause } = await ring.compareAndSet(statements)
  if (outcome === 'unknown') throw new Fault('log-unavailable', {}, { cause })
}
