/** The JSON of entries, as clients get it: what every engine stores, and never parses to read. */
import { isDeepStrictEqual } from 'node:util'
import { crc32c } from '@node-rs/crc32'
import type { StoredEntry } from '../core/entry.ts'
import { type ConversationKey, type EntryDraft, splitKey } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import type { EntryKind } from '../protocol/messages.ts'

/** What the log knows of an entry before its JSON. */
export type Facts = Pick<StoredEntry, 'seq' | 'n' | 'kind' | 'from' | 'sentAt'>

/** Fields that the log adds; a body cannot have them. */
const STAMPED = ['kind', 'conversation', 'seq', 'n', 'id', 'from', 'sentAt'] as const

/** Stored, and counted into fingerprints; a number is never given to another kind. */
// biome-ignore format: a table
export const CODES = { message: 1, recall: 2, edit: 3, burn: 4, members: 5, call: 6, alert: 7, command: 8, result: 9 } as const satisfies Record<EntryKind, number>

/** The JSON of a body, to be put behind `startOf`. @throws Fault `malformed`: it has a field that the log gives. */
export function restOf(body: EntryDraft['body']): Buffer {
  for (const field of STAMPED)
    if (field in body)
      throw new Fault('malformed', { issues: [{ path: [field], message: 'The log gives this field.' }] })
  const json = JSON.stringify(body)
  return Buffer.from(json === '{}' ? '}' : `,${json.slice(1)}`)
}

/** The JSON of an entry up to its body. */
export function startOf(conversation: ConversationKey, { seq, n, kind, from, sentAt }: Facts, id: string): string {
  const name = splitKey(conversation).conversation
  const named = `{"kind":"${kind}","conversation":${JSON.stringify(name)},"seq":${seq},"n":${n}`
  return `${named},"id":"${id}","from":${JSON.stringify(from)},"sentAt":${sentAt}`
}

/** What stays of a message that was taken back: its place, sender and time, not its body. */
export function tombstoneJson(stored: StoredEntry, retracted: EntryKind): string {
  const { kind, conversation, seq, n, id, from, sentAt, type, clientMessageId } = stored.entry
  return JSON.stringify({ kind, conversation, seq, n, id, from, sentAt, type, clientMessageId, retracted })
}

/** What a repeat is told of an entry that retention removed: from all of it, or from `remainsJson`. */
export function removedJson(conversation: ConversationKey, stored: StoredEntry): string {
  const { kind, seq, n, from, sentAt } = stored
  const { id, type, clientMessageId, retracted = 'retention' } = stored.entry
  const name = splitKey(conversation).conversation
  return JSON.stringify({ kind, conversation: name, seq, n, id, from, sentAt, type, clientMessageId, retracted })
}

// ---- what finds a repeat ----

/** Of the draft as given. Two different drafts that meet here are taken for one, so a length stands beside the CRC. */
export interface Fingerprint {
  crc: number
  length: number
}
export const fingerprintOf = (draft: EntryDraft, body: Uint8Array): Fingerprint => ({
  crc: crc32c(body, CODES[draft.kind]),
  length: body.length,
})

/** Whether an entry says what the draft would. Spares the client that repeats with fields in another order. */
export function says(stored: StoredEntry, draft: EntryDraft): boolean {
  const body: Record<string, unknown> = { ...stored.entry }
  for (const field of STAMPED) delete body[field]
  return stored.kind === draft.kind && isDeepStrictEqual(body, JSON.parse(JSON.stringify(draft.body)))
}
