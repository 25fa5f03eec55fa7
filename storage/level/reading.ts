/** Entries from disk. What is asked for is known to exist, so that nothing can be missing unseen. */
import type { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey } from '../../core/ports.ts'
import type { Seq } from '../../protocol/ids.ts'
import type { Engine } from './engine.ts'
import { readEntry } from './entries.ts'
import { entryKey } from './rows.ts'

/** Entries of one read. */
export const MAX_ENTRIES = 1_000
/** What a read by bytes takes at first, before it knows how large the entries are. */
const FIRST_ENTRIES = 64

interface Needed {
  /** Both included, and both at most the conversation's end. */
  from: number
  to: number
  reverse: boolean
  maxBytes: number
}

/** @throws Fault `log-unavailable`: a row is missing or damaged. */
export async function readStored(engine: Engine, conversation: ConversationKey, range: Needed): Promise<StoredEntry[]> {
  const entries: StoredEntry[] = []
  let { from, to } = range
  let chunk = range.maxBytes === Number.POSITIVE_INFINITY ? MAX_ENTRIES : FIRST_ENTRIES
  for (let left = range.maxBytes; left > 0 && from <= to; chunk = Math.min(chunk * 2, MAX_ENTRIES)) {
    const count = Math.min(chunk, to - from + 1)
    const first = range.reverse ? to - count + 1 : from
    const read = cut(await readChunk(engine, conversation, first, count, range.reverse), left)
    for (const entry of read) {
      left -= entry.bytes.length
      entries.push(entry)
    }
    if (range.reverse) to -= count
    else from += count
  }
  return entries
}

async function readChunk(
  engine: Engine,
  conversation: ConversationKey,
  first: number,
  count: number,
  reverse: boolean,
): Promise<StoredEntry[]> {
  const last = first + count - 1
  const range = { gte: entryKey(conversation, first), lte: entryKey(conversation, last), limit: count, reverse }
  const values = await engine.values(range)
  return Array.from({ length: count }, (_, nth) => {
    const seq = (reverse ? last - nth : first + nth) as Seq
    return readEntry(conversation, seq, values[nth])
  })
}

/** Up to the entry that reaches so many bytes, that one included. */
export function cut(entries: StoredEntry[], maxBytes: number): StoredEntry[] {
  if (maxBytes === Number.POSITIVE_INFINITY) return entries
  let bytes = 0
  for (let at = 0; at < entries.length; at++) {
    bytes += entries[at]?.bytes.length ?? 0
    if (bytes >= maxBytes) return entries.slice(0, at + 1)
  }
  return entries
}
