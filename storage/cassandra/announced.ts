/**
 * What a node that appended tells the others on the bus: the entries, or, where they are large, only how far it went; and
 * afterwards of which the record changes are made, where others append there, too.
 */
import { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey } from '../../core/ports.ts'
import type { Sender, Seq } from '../../protocol/ids.ts'
import type { EntryKind } from '../../protocol/messages.ts'
import { CODES } from '../entry-json.ts'
import type { Span } from './settling.ts'

/** More than this is read from Cassandra by whoever wants it. */
const MAX_BYTES = 64 * 1024
const HEAD_BYTES = 4

type Fact = [seq: number, n: number, kind: string, from: string, sentAt: number, bytes: number]
interface Head {
  to: number
  entries: Fact[]
  made?: Span
}
export interface Announced {
  /** The newest entry. */
  to: number
  entries: StoredEntry[]
  made: Span | undefined
}

export const channelOf = (conversation: ConversationKey) => `c/${conversation}`

/** Four bytes with the length of the head, the head as JSON, and the entries one behind the other. */
export function frameOf(entries: readonly StoredEntry[], to: number = entries.at(-1)?.seq ?? 0, made?: Span): Buffer {
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes.length, 0)
  const carried = bytes > MAX_BYTES ? [] : entries
  const facts = carried.map(({ seq, n, kind, from, sentAt, bytes }): Fact => [seq, n, kind, from, sentAt, bytes.length])
  const head = Buffer.from(JSON.stringify({ to, entries: facts, ...(made && { made }) } satisfies Head))
  const length = Buffer.alloc(HEAD_BYTES)
  length.writeUInt32BE(head.length)
  return Buffer.concat([length, head, ...carried.map(entry => entry.bytes)])
}

/** Nothing where it is no frame of ours. */
export function readFrame(frame: Buffer): Announced | undefined {
  try {
    const end = HEAD_BYTES + frame.readUInt32BE()
    const { to, entries, made } = JSON.parse(frame.toString('utf8', HEAD_BYTES, end)) as Head
    let at = end
    const read = entries.map(([seq, n, kind, from, sentAt, length]) => {
      if (!Object.hasOwn(CODES, kind) || at + length > frame.length) throw new RangeError('The frame is cut.')
      const facts = { seq: seq as Seq, n, kind: kind as EntryKind, from: from as Sender, sentAt }
      at += length
      return new StoredEntry(facts, frame.subarray(at - length, at))
    })
    return typeof to === 'number' ? { to, entries: read, made: Array.isArray(made) ? made : undefined } : undefined
  } catch {
    return undefined
  }
}
