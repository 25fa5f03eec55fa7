/** One append: looks for a repeat, takes the next position, and writes entry, retraction and record changes together. */
import type { StoredEntry } from '../../core/entry.ts'
import type { AppendOptions, Change, ConversationKey, EntryDraft } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { EpochMs, Seq } from '../../protocol/ids.ts'
import { type Facts, type Fingerprint, fingerprintOf, restOf, says, startOf } from '../entry-json.ts'
import { part } from '../shape.ts'
import { applyChanges, keysOf } from './changes.ts'
import type { Transaction } from './committer.ts'
import {
  type DedupRow,
  dedupValue,
  type EntryRow,
  entryRow,
  isRetracted,
  NOTHING,
  readDedup,
  readEntry,
  type TailRow,
  tombstone,
} from './entries.ts'
import type { Rows } from './overlay.ts'
import { dedupKey, entryKey, tailKey } from './rows.ts'

/** What appends share with the log. */
export interface Appending {
  now(): EpochMs
  ulid(time: EpochMs): string
  /** Whether the end of the conversation is in memory. */
  knows(conversation: ConversationKey): boolean
  /** The end, appends of the batch under way included. */
  end(conversation: ConversationKey, rows: Rows): Readonly<TailRow>
  moveEnd(conversation: ConversationKey, from: Readonly<TailRow>, to: Readonly<TailRow>): void
  /** It is durable. */
  stored(conversation: ConversationKey, entry: StoredEntry, tombstone: StoredEntry | undefined): void
  /** The entry that a repeat found, if the draft is the same. */
  repeat(append: Append, found: DedupRow): Promise<StoredEntry>
}

/** Rows and keys around an entry's JSON. */
const AROUND_BYTES = 400
const NO_CHANGES: readonly Change[] = []

export class Append implements Transaction {
  readonly conversation: ConversationKey
  readonly draft: EntryDraft
  readonly bytes: number
  readonly durable = true
  readonly refused: (fault: Fault) => void
  readonly fingerprint: Fingerprint | undefined
  readonly #log: Appending
  readonly #options: AppendOptions
  readonly #resolve: (entry: StoredEntry | Promise<StoredEntry>) => void
  /** The end of the entry's JSON. */
  readonly #rest: Buffer
  readonly #dedupKey: string | undefined
  #repeats: DedupRow | undefined
  #facts: Facts | undefined
  #end: Readonly<TailRow> = NOTHING
  #changes = NO_CHANGES
  #changeKeys: readonly string[] = []
  #entry: StoredEntry | undefined
  #tombstone: EntryRow | undefined

  constructor(
    log: Appending,
    what: { conversation: ConversationKey; draft: EntryDraft; options: AppendOptions },
    resolve: (entry: StoredEntry | Promise<StoredEntry>) => void,
    refused: (fault: Fault) => void,
  ) {
    this.#log = log
    this.conversation = what.conversation
    this.draft = what.draft
    this.#options = what.options
    this.#resolve = resolve
    this.refused = refused
    this.#rest = restOf(what.draft.body)
    this.bytes = this.#rest.length + AROUND_BYTES
    const { clientMessageId } = what.draft.body
    if (typeof clientMessageId === 'string') {
      this.#dedupKey = dedupKey(what.conversation, what.draft.from, part(clientMessageId))
      this.fingerprint = fingerprintOf(what.draft, this.#rest)
    }
  }

  keys(): readonly string[] {
    const keys = this.#log.knows(this.conversation) ? [] : [tailKey(this.conversation)]
    if (this.#dedupKey) keys.push(this.#dedupKey)
    if (this.#options.retracts) keys.push(entryKey(this.conversation, this.#options.retracts))
    return keys
  }

  prepare(rows: Rows): readonly string[] {
    const stored = this.#dedupKey && rows.get(this.#dedupKey)
    if (this.#dedupKey && stored) {
      this.#repeats = readDedup(this.#dedupKey, stored)
      return []
    }
    const end = this.#log.end(this.conversation, rows)
    if (this.#options.retracts !== undefined) this.#tombstone = this.#retract(rows, this.#options.retracts, end.first)
    const { kind, from } = this.draft
    const seq = (end.seq + 1) as Seq
    const n = kind === 'message' ? end.n + 1 : end.n
    const sentAt = Math.max(this.#log.now(), end.sentAt)
    this.#end = end
    this.#facts = { seq, n, kind, from, sentAt }
    if (this.#options.changes) {
      this.#changes = this.#options.changes({ seq, n, sentAt })
      this.#changeKeys = keysOf(this.#changes)
    }
    return this.#changeKeys
  }

  decide(rows: Rows): void {
    const facts = this.#facts
    if (this.#repeats || !facts) return
    if (this.#changes.length > 0) applyChanges(rows, this.#changes, this.#changeKeys)
    const row = entryRow(
      this.conversation,
      facts,
      startOf(this.conversation, facts, this.#log.ulid(facts.sentAt)),
      this.#rest,
    )
    rows.put(row.key, row.value)
    if (this.#tombstone) rows.put(this.#tombstone.key, this.#tombstone.value)
    if (this.#dedupKey && this.fingerprint) {
      const dedup = { seq: facts.seq, fingerprint: this.fingerprint }
      rows.put(this.#dedupKey, dedupValue(this.#dedupKey, dedup))
    }
    this.#entry = row.entry
    const { seq, n, sentAt } = facts
    const { first, forgotten } = this.#end
    this.#log.moveEnd(this.conversation, this.#end, { seq, n, sentAt, first, forgotten })
  }

  committed(): void {
    if (this.#repeats) this.#resolve(this.#log.repeat(this, this.#repeats))
    if (!this.#entry) return
    this.#log.stored(this.conversation, this.#entry, this.#tombstone?.entry)
    this.#resolve(this.#entry)
  }

  /** Whether an entry says what this would. */
  isSaidBy(stored: StoredEntry, fingerprint: Fingerprint): boolean {
    if (this.fingerprint?.crc === fingerprint.crc && this.fingerprint.length === fingerprint.length) return true
    return says(stored, this.draft)
  }

  #retract(rows: Rows, seq: Seq, first: Seq): EntryRow {
    const value = rows.get(entryKey(this.conversation, seq))
    if (!value || seq < first) throw new Fault('no-such-entry', { seq })
    const target = readEntry(this.conversation, seq, value)
    if (target.kind !== 'message') throw new Fault('no-such-entry', { seq })
    if (isRetracted(value)) throw new Fault('already-recalled', { seq })
    return tombstone(this.conversation, target, this.draft.kind)
  }
}
