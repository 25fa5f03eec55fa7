/**
 * Rows of the log. An entry: kind (high bit: retracted), n, sentAt, length and text of `from`, then the entry's JSON as
 * clients get it, so that reading parses nothing.
 */
import { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey, Tail } from '../../core/ports.ts'
import type { Seq } from '../../protocol/ids.ts'
import type { EntryKind } from '../../protocol/messages.ts'
import { CODES, type Facts, type Fingerprint, removedJson, tombstoneJson } from '../entry-json.ts'
import { blank, damaged, entryKey, HEAD, seal, whole } from './rows.ts'

const KINDS = new Map<number, EntryKind>(Object.entries(CODES).map(([kind, code]) => [code, kind as EntryKind]))
const RETRACTED = 0x80
const AT = { kind: HEAD, n: HEAD + 1, sentAt: HEAD + 7, fromLength: HEAD + 13, from: HEAD + 14 } as const

export interface EntryRow {
  key: string
  value: Buffer
  entry: StoredEntry
}

/** `start` is the JSON up to the body, which follows as it is. */
export function entryRow(
  conversation: ConversationKey,
  facts: Facts,
  start: string,
  rest: Uint8Array,
  retracted = false,
): EntryRow {
  const key = entryKey(conversation, facts.seq)
  const fromBytes = Buffer.byteLength(facts.from)
  if (fromBytes > 255) throw new RangeError('A sender is at most 255 bytes.')
  const jsonAt = AT.from + fromBytes
  const startBytes = Buffer.byteLength(start)
  const value = blank(jsonAt - HEAD + startBytes + rest.length)
  value[AT.kind] = CODES[facts.kind] | (retracted ? RETRACTED : 0)
  value.writeUIntBE(facts.n, AT.n, 6)
  value.writeUIntBE(facts.sentAt, AT.sentAt, 6)
  value[AT.fromLength] = fromBytes
  value.write(facts.from, AT.from)
  value.write(start, jsonAt)
  value.set(rest, jsonAt + startBytes)
  return { key, value: seal(key, value), entry: new StoredEntry(facts, value.subarray(jsonAt)) }
}

/** @throws Fault `log-unavailable`: the row is damaged, or is not that entry's. */
export function readEntry(conversation: ConversationKey, seq: Seq, value: Buffer | undefined): StoredEntry {
  const key = entryKey(conversation, seq)
  if (!value) throw damaged(key, 'it is missing')
  whole(key, value)
  const kind = KINDS.get((value[AT.kind] as number) & ~RETRACTED)
  if (!kind) throw damaged(key, 'its kind is not known')
  const jsonAt = AT.from + (value[AT.fromLength] as number)
  const facts: Facts = {
    seq,
    n: value.readUIntBE(AT.n, 6),
    kind,
    from: value.toString('latin1', AT.from, jsonAt) as Facts['from'],
    sentAt: value.readUIntBE(AT.sentAt, 6),
  }
  return new StoredEntry(facts, value.subarray(jsonAt))
}
/** Of a row that was read before. */
export const isRetracted = (value: Buffer): boolean => ((value[AT.kind] as number) & RETRACTED) !== 0

/** What stays of a message that was taken back. */
export function tombstone(conversation: ConversationKey, stored: StoredEntry, retracted: EntryKind): EntryRow {
  return entryRow(conversation, stored, tombstoneJson(stored, retracted), new Uint8Array(0), true)
}

// ---- what stays of a removed entry, for who repeats it ----

const ID = Buffer.from('"clientMessageId":')

/** Nothing, where it has no clientMessageId or cannot be read. */
export function remains(conversation: ConversationKey, seq: Seq, value: Buffer): Buffer | undefined {
  try {
    // Only an entry that has one is parsed.
    if (!value.includes(ID)) return undefined
    const stored = readEntry(conversation, seq, value)
    const { id, type, clientMessageId, retracted } = stored.entry
    if (clientMessageId === undefined) return undefined
    const json = JSON.stringify({ id, type, clientMessageId, retracted })
    return entryRow(conversation, stored, json, new Uint8Array(0), true).value
  } catch {
    // Its body is to go in any case.
    return undefined
  }
}

/** The tombstone of a removed entry, from what stays of it or from all of it. */
export function removed(conversation: ConversationKey, seq: Seq, value: Buffer): StoredEntry {
  const stored = readEntry(conversation, seq, value)
  return new StoredEntry(stored, Buffer.from(removedJson(conversation, stored)))
}

// ---- ends of a conversation ----

export interface TailRow extends Tail {
  /** Nothing up to this position is looked up by clientMessageId any more. */
  forgotten: number
}
export const NOTHING: Readonly<TailRow> = { seq: 0, n: 0, sentAt: 0, first: 1 as Seq, forgotten: 0 }
const FIRST_AT = HEAD + 24

export function tailValue(key: string, tail: TailRow): Buffer {
  const trimmed = tail.first > 1
  const value = blank(trimmed ? 30 : 24)
  if (trimmed) value.writeUIntBE(tail.first, FIRST_AT, 6)
  value.writeUIntBE(tail.seq, HEAD, 6)
  value.writeUIntBE(tail.n, HEAD + 6, 6)
  value.writeUIntBE(tail.sentAt, HEAD + 12, 6)
  value.writeUIntBE(tail.forgotten, HEAD + 18, 6)
  return seal(key, value)
}
export function readTail(key: string, value: Buffer | undefined): Readonly<TailRow> {
  if (!value) return NOTHING
  whole(key, value)
  return {
    seq: value.readUIntBE(HEAD, 6) as Seq,
    n: value.readUIntBE(HEAD + 6, 6),
    sentAt: value.readUIntBE(HEAD + 12, 6),
    first: (value.length > FIRST_AT ? value.readUIntBE(FIRST_AT, 6) : 1) as Seq,
    forgotten: value.readUIntBE(HEAD + 18, 6),
  }
}

// ---- where the message of a clientMessageId is ----

export interface DedupRow {
  seq: Seq
  fingerprint: Fingerprint
}
export function dedupValue(key: string, { seq, fingerprint }: DedupRow): Buffer {
  const value = blank(14)
  value.writeUIntBE(seq, HEAD, 6)
  value.writeUInt32BE(fingerprint.crc, HEAD + 6)
  value.writeUInt32BE(fingerprint.length, HEAD + 10)
  return seal(key, value)
}
export function readDedup(key: string, value: Buffer): DedupRow {
  whole(key, value)
  const fingerprint = { crc: value.readUInt32BE(HEAD + 6), length: value.readUInt32BE(HEAD + 10) }
  return { seq: value.readUIntBE(HEAD, 6) as Seq, fingerprint }
}

// ---- where the rows of removed entries begin ----

export function trimValue(key: string, from: number): Buffer {
  const value = blank(6)
  value.writeUIntBE(from, HEAD, 6)
  return seal(key, value)
}
export const readTrim = (key: string, value: Buffer): number => whole(key, value).readUIntBE(HEAD, 6)
