/** What of the waiting appends goes into one conditional batch, and in which places. */

import { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey, Tail } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { Seq } from '../../protocol/ids.ts'
import { tombstoneJson } from '../entry-json.ts'
import type { Append, Placed } from './append.ts'
import { type End, moveTail } from './ends.ts'
import { entryOf, type Kept, putEntry, putRepeat } from './entries.ts'
import type { Shared } from './log.ts'
import { retracting, type Target } from './retractions.ts'
import type { Statement } from './ring.ts'

export interface Batch {
  bucket: number
  placed: Placed[]
  /** They say the same as one that is placed. */
  twins: { append: Append; of: Placed }[]
  statements: Statement[]
  /** A message of another bucket that is taken back. */
  across?: Target
  /** Nothing of it is there, but it may be on its way. */
  isLate?: true
}

/** Those that are refused are told so, and are not in the batch. */
export async function compose(
  shared: Shared,
  conversation: ConversationKey,
  waiting: readonly Append[],
  end: End,
  bucket: number,
): Promise<Batch> {
  const batch: Batch = { bucket, placed: [], twins: [], statements: [] }
  const names = new Map<string, Placed>()
  const taken = new Set<number>()
  const capacity = shared.ends.lastOf(bucket) - end.seq
  let tail: Tail = end
  for (const append of waiting) {
    if (batch.placed.length >= capacity) break
    const twin = append.name === undefined ? undefined : names.get(append.name)
    if (twin) {
      batch.twins.push({ append, of: twin })
      continue
    }
    // What is in this batch can be taken back when it is there.
    if (append.retracts !== undefined && append.retracts > end.seq && append.retracts <= tail.seq) break
    try {
      const target = append.retracts && (await targetOf(shared, conversation, append, append.retracts, end, taken))
      const placed = append.at(conversation, tail, shared.clock.now(), shared.ulid)
      const isAlone = placed.versioned.length > 0 || (target && target.bucket !== bucket)
      if (isAlone && batch.placed.length > 0) break
      if (target) taken.add(target.seq)
      if (target && target.bucket !== bucket) batch.across = target
      if (target?.bucket === bucket) batch.statements.push(retracting(conversation, target))
      add(batch, conversation, placed, shared)
      if (append.name !== undefined) names.set(append.name, placed)
      tail = placed.tail
      if (isAlone) break
    } catch (cause) {
      append.reject(cause)
    }
  }
  const from = end.seq === 0 || end.bucket !== bucket ? null : end.seq
  if (batch.placed.length > 0) batch.statements.unshift(moveTail(conversation, bucket, from, tail))
  return batch
}

function add(batch: Batch, conversation: ConversationKey, placed: Placed, { redo }: Shared): void {
  const { append, entry, ranked } = placed
  batch.placed.push(placed)
  batch.statements.push(putEntry(conversation, batch.bucket, entry, redo.textOf(ranked)))
  if (append.name !== undefined && append.fingerprint) {
    const repeat = { seq: entry.seq, fingerprint: append.fingerprint }
    batch.statements.push(putRepeat(conversation, batch.bucket, append.name, repeat))
  }
}

/** @throws Fault `no-such-entry` · `already-recalled` */
async function targetOf(
  shared: Shared,
  conversation: ConversationKey,
  append: Append,
  seq: Seq,
  end: End,
  taken: ReadonlySet<number>,
): Promise<Target> {
  const kept = seq >= end.first && seq <= end.seq ? await decidedEntry(shared, conversation, seq) : undefined
  if (kept?.entry.kind !== 'message') throw new Fault('no-such-entry', { seq })
  if (kept.retracted || taken.has(seq)) throw new Fault('already-recalled', { seq })
  const tombstone = new StoredEntry(kept.entry, Buffer.from(tombstoneJson(kept.entry, append.draft.kind)))
  return { seq, bucket: shared.ends.bucketOf(seq), tombstone, by: append.draft.kind }
}

/** Behind whoever is taking it back: they decide soon, or are called off. */
async function decidedEntry(shared: Shared, conversation: ConversationKey, seq: Seq): Promise<Kept | undefined> {
  for (let attempt = 1; ; attempt++) {
    const row = await shared.row(conversation, seq)
    const kept = row && entryOf(row)
    if (!kept?.lock) return kept
    await shared.writer.again(attempt)
  }
}
