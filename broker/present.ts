/** What of an entry a reader gets: all of it, its envelope where it does not fit, or nothing. */
import type { StoredEntry } from '../core/entry.ts'
import type { ConversationId } from '../protocol/ids.ts'
import type { Entry, Gap } from '../protocol/messages.ts'

/** The fields that say which entry it is. */
const ENVELOPE = [
  'kind',
  'conversation',
  'seq',
  'n',
  'id',
  'from',
  'sentAt',
  'type',
  'clientMessageId',
  'target',
  'retracted',
] as const

/** The entry without its body, marked as such, for a client whose Maximum Packet Size it exceeds. */
export function envelope(entry: StoredEntry): Buffer {
  const whole: Entry = entry.entry
  const head = Object.fromEntries(ENVELOPE.filter(field => field in whole).map(field => [field, whole[field]]))
  return Buffer.from(JSON.stringify({ ...head, truncated: true }))
}

/** Stands before the first entry after a range that the reader never gets. */
export function gap(conversation: ConversationId, from: number, to: number, reason: Gap['reason']): Buffer {
  return Buffer.from(JSON.stringify({ kind: 'gap', conversation, from, to, reason }))
}
