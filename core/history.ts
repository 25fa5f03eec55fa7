/** History: pages of a conversation's entries, as far back as the reader may see. */
import { Fault } from '../protocol/faults.ts'
import type { EpochMs, Seq } from '../protocol/ids.ts'
import type { Gap } from '../protocol/messages.ts'
import type { Input } from '../protocol/operations.ts'
import type { Known } from './caller.ts'
import { type StoredEntry, unexpired } from './entry.ts'
import { type ConversationKey, keyOf, type MessageLog } from './ports.ts'
import type { VisibleFrom } from './sight.ts'

interface Needs {
  log: Pick<MessageLog, 'read' | 'seqAt' | 'tails'>
  visibleFrom: VisibleFrom
  now: () => EpochMs
}

/** Bytes of one page; at least one entry is given. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024
/** Entries looked at for one page that asks for a sender, and in one read. */
const MAX_SCANNED = 5_000
const CHUNK = 500

/** Where a page is read from: positions inclusive, upwards or downwards. */
interface Span {
  low: number
  high: number
  upwards: boolean
  from?: string
}
type Page = { items: (StoredEntry | Gap)[]; next?: string }

export function history({ log, visibleFrom, now }: Needs) {
  async function listMessages(caller: Known, input: Input<'listMessages'>): Promise<Page> {
    const { conversation, after, limit } = input
    const first = await visibleFrom(caller.app, caller.member, conversation)
    if (first === undefined) throw new Fault('not-a-member')
    const key = keyOf(caller.app, conversation)
    const span = await spanOf(log, key, input)
    const gaps: Gap[] = []
    const isGap = (from: number, to: number, reason: Gap['reason']) => {
      if (from <= to) gaps.push({ kind: 'gap', conversation, from: from as Seq, to: to as Seq, reason })
    }
    if (after !== undefined && input.cursor === undefined)
      isGap(span.low, Math.min(first - 1, span.high), 'not-a-member')
    span.low = Math.max(span.low, first)
    const { entries, more } = await read(log, key, span, limit)
    // What was removed stands where it was: before what is left of the range.
    if (span.upwards || !more) isGap(span.low, (await beginning(log, key, span, entries)) - 1, 'retention')
    const last = span.upwards ? entries.at(-1) : entries[0]
    const items = entries.filter(entry => !span.from || entry.from === span.from).map(entry => unexpired(entry, now()))
    const next = more && last ? cursorOf(span, last.seq) : undefined
    return { items: [...gaps, ...items], ...(next && { next }) }
  }
  return { listMessages }
}

/** Where what is there of a range begins. */
async function beginning(log: Needs['log'], key: ConversationKey, { high }: Span, [entry]: readonly StoredEntry[]) {
  return entry?.seq ?? Math.min(await firstOf(log, key), high + 1)
}

async function firstOf(log: Needs['log'], key: ConversationKey): Promise<Seq> {
  const [tail] = await log.tails([key])
  return tail?.first ?? (1 as Seq)
}

async function spanOf(log: Needs['log'], key: ConversationKey, input: Input<'listMessages'>): Promise<Span> {
  if (input.cursor !== undefined) return spanFrom(input.cursor)
  const { after, before, since, until, from } = input
  const [start, end] = await Promise.all([
    since === undefined ? 1 : log.seqAt(key, since),
    until === undefined ? Number.MAX_SAFE_INTEGER : log.seqAt(key, until),
  ])
  // When what was removed was sent is not known any more: it may belong to the time that is asked for.
  const isRemoved = start > 1 && start === (await firstOf(log, key))
  return {
    low: Math.max((after ?? 0) + 1, isRemoved ? 1 : start),
    high: Math.min((before ?? Number.MAX_SAFE_INTEGER) - 1, end - 1),
    upwards: after !== undefined,
    ...(from !== undefined && { from }),
  }
}

/**
 * A page, ascending: with a sender, all that was looked at, so that its end says where the next page begins. `more` is
 * whether something may follow.
 */
async function read(log: Needs['log'], key: ConversationKey, span: Span, limit: number) {
  const { upwards, from } = span
  let { low, high } = span
  // One more than asked for tells whether there is a next page.
  const wanted = from === undefined ? limit + 1 : CHUNK
  const seen: StoredEntry[] = []
  let matches = 0
  let bytes = 0
  let more = low <= high
  while (more && matches < limit && seen.length < MAX_SCANNED && bytes < MAX_PAGE_BYTES) {
    const chunk = await log.read(key, {
      after: (low - 1) as Seq,
      ...(high < Number.MAX_SAFE_INTEGER - 1 && { before: (high + 1) as Seq }),
      limit: wanted,
      maxBytes: MAX_PAGE_BYTES,
      reverse: !upwards,
    })
    // A read that gives less than was asked for, and did not stop for its size, met the end.
    more = chunk.length === wanted || sizeOf(chunk) >= MAX_PAGE_BYTES
    for (const entry of chunk) {
      if (matches === limit) return { entries: upwards ? seen : seen.reverse(), more: true }
      seen.push(entry)
      if (from === undefined || entry.from === from) {
        matches++
        bytes += entry.bytes.length
      }
      if (upwards) low = entry.seq + 1
      else high = entry.seq - 1
    }
    more &&= low <= high
  }
  return { entries: upwards ? seen : seen.reverse(), more }
}

const sizeOf = (entries: readonly StoredEntry[]) => entries.reduce((sum, { bytes }) => sum + bytes.length, 0)

// ---- cursor: direction, next position, far bound, sender ----

function cursorOf({ low, high, upwards, from }: Span, last: number): string {
  const parts = upwards ? ['a', last + 1, high] : ['b', last - 1, low]
  return Buffer.from(JSON.stringify(from === undefined ? parts : [...parts, from])).toString('base64url')
}

function spanFrom(cursor: string): Span {
  try {
    const [direction, at, bound, from] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    const fits =
      Number.isSafeInteger(at) && Number.isSafeInteger(bound) && (from === undefined || typeof from === 'string')
    if (!fits || (direction !== 'a' && direction !== 'b')) throw new TypeError('not a cursor')
    const upwards = direction === 'a'
    const [low, high] = (upwards ? [at, bound] : [bound, at]) as [number, number]
    return { low: Math.max(1, low), high, upwards, ...(typeof from === 'string' && { from }) }
  } catch (cause) {
    throw new Fault(
      'malformed',
      { issues: [{ path: ['cursor'], message: 'The cursor is not one of this list.' }] },
      { cause },
    )
  }
}
