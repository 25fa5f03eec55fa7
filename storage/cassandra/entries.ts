/** Entries as they lie in a bucket, and what finds the repeat of one. */
import { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { Sender, Seq } from '../../protocol/ids.ts'
import type { EntryKind } from '../../protocol/messages.ts'
import { CODES, type Fingerprint, removedJson } from '../entry-json.ts'
import type { Row, Statement } from './ring.ts'

export interface Kept {
  entry: StoredEntry
  retracted: boolean
  /** A recall from another bucket has set it aside. */
  lock?: string
}
export const ENTRY = 'seq, kind, sender, n, sent_at, entry, retracted, lock'

export function entryOf(row: Row): Kept {
  const { seq, kind, sender, n, sent_at: sentAt, entry, retracted, lock } = row
  if (!Object.hasOwn(CODES, String(kind)) || typeof entry !== 'string')
    throw new Fault('log-unavailable', {}, { cause: new Error(`Entry ${seq} cannot be read.`) })
  const facts = {
    seq: Number(seq) as Seq,
    n: Number(n),
    kind: kind as EntryKind,
    from: sender as Sender,
    sentAt: Number(sentAt),
  }
  return {
    entry: new StoredEntry(facts, Buffer.from(entry)),
    retracted: retracted !== null,
    ...(typeof lock === 'string' && { lock }),
  }
}

/** A new entry; `redo`: ranked record changes that are made behind it. */
export function putEntry(conversation: ConversationKey, bucket: number, entry: StoredEntry, redo?: string): Statement {
  const { seq, kind, from, n, sentAt, bytes } = entry
  return [
    `INSERT INTO log (conversation, bucket, seq, name, kind, sender, n, sent_at, entry, redo)
     VALUES (?, ?, ?, '', ?, ?, ?, ?, ?, ?)`,
    [conversation, bucket, seq, kind, from, n, sentAt, Buffer.from(bytes).toString(), redo ?? null],
  ]
}

// ---- repeats ----

/** Where the message of a clientMessageId is. `remains`: what its entry was, where retention removed it. */
export interface Repeat {
  seq: Seq
  fingerprint: Fingerprint
  remains?: string
}
/** No sender has a space in their name. */
export const repeatName = (from: Sender, clientMessageId: string) => `c:${from} ${clientMessageId}`

export function putRepeat(
  conversation: ConversationKey,
  bucket: number,
  name: string,
  { seq, fingerprint }: Repeat,
): Statement {
  return [
    'INSERT INTO log (conversation, bucket, seq, name, target, fingerprint) VALUES (?, ?, 0, ?, ?, ?) IF NOT EXISTS',
    [conversation, bucket, name, seq, `${fingerprint.crc} ${fingerprint.length}`],
  ]
}
export function repeatOf({ target, fingerprint, entry }: Row): Repeat {
  const [crc, length] = String(fingerprint).split(' ').map(Number) as [number, number]
  return {
    seq: Number(target) as Seq,
    fingerprint: { crc, length },
    ...(typeof entry === 'string' && { remains: entry }),
  }
}

/** What a repeat of a removed entry is told. */
export function removedEntry(conversation: ConversationKey, row: Row): StoredEntry {
  const { entry } = entryOf({ ...row, seq: row.target, retracted: null })
  return new StoredEntry(entry, Buffer.from(removedJson(conversation, entry)))
}

/** What stays of an entry that retention removes, as text; nothing where it has no clientMessageId. */
export function remainsOf({ entry }: StoredEntry): string | undefined {
  const { id, type, clientMessageId, retracted } = entry
  return typeof clientMessageId === 'string' ? JSON.stringify({ id, type, clientMessageId, retracted }) : undefined
}
