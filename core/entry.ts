/** An entry as it lies in the log: its JSON once, as bytes, beside the few facts that are needed without parsing. */
import type { EpochMs, Sender, Seq } from '../protocol/ids.ts'
import type { Entry, EntryKind } from '../protocol/messages.ts'

const decoder = new TextDecoder()

export class StoredEntry {
  readonly seq: Seq
  readonly n: number
  readonly kind: EntryKind
  readonly from: Sender
  readonly sentAt: EpochMs
  /** UTF-8 of the entry's JSON, as in the inbox and in history. Never changed. */
  readonly bytes: Uint8Array
  /** Whether the append that gave this entry found it stored before. */
  readonly repeated: boolean
  #entry: Entry | undefined

  constructor(
    facts: { seq: Seq; n: number; kind: EntryKind; from: Sender; sentAt: EpochMs },
    bytes: Uint8Array,
    repeated = false,
  ) {
    this.seq = facts.seq
    this.n = facts.n
    this.kind = facts.kind
    this.from = facts.from
    this.sentAt = facts.sentAt
    this.bytes = bytes
    this.repeated = repeated
  }

  /** The entry, parsed at the first use. */
  get entry(): Entry {
    this.#entry ??= JSON.parse(decoder.decode(this.bytes)) as Entry
    return this.#entry
  }

  again(): StoredEntry {
    return new StoredEntry(this, this.bytes, true)
  }

  toJSON(): Entry {
    return this.entry
  }
}

const EXPIRY = Buffer.from('"expiresAt":')

/** The entry, or its tombstone where its time is over. Only an entry that names an expiry is parsed. */
export function unexpired(stored: StoredEntry, now: EpochMs): StoredEntry {
  const { buffer, byteOffset, byteLength } = stored.bytes
  if (stored.kind !== 'message' || !Buffer.from(buffer, byteOffset, byteLength).includes(EXPIRY)) return stored
  const { kind, conversation, seq, n, id, from, sentAt, expiresAt } = stored.entry
  if (typeof expiresAt !== 'number' || expiresAt > now) return stored
  const left: Entry = { kind, conversation, seq, n, id, from, sentAt, retracted: 'expired' }
  return new StoredEntry(stored, Buffer.from(JSON.stringify(left)))
}
