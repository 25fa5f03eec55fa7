/** The log over the embedded database. */
import type { StoredEntry } from '../../core/entry.ts'
import type {
  AppendOptions,
  Clock,
  ConversationKey,
  EntryDraft,
  MessageLog,
  Random,
  ReadRange,
  Tail,
} from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { EpochMs, Seq } from '../../protocol/ids.ts'
import type { StorageObserver } from '../open.ts'
import { ulids } from '../ulid.ts'
import { Append, type Appending } from './append.ts'
import { Blocks } from './blocks.ts'
import type { Committer, Participant } from './committer.ts'
import { Compaction } from './compaction.ts'
import type { DiskGuard } from './disk.ts'
import { Ends } from './ends.ts'
import type { Engine } from './engine.ts'
import { type DedupRow, readTail, removed, type TailRow, tailValue } from './entries.ts'
import { Forgetting } from './forgetting.ts'
import type { Hot } from './hot.ts'
import type { Rows } from './overlay.ts'
import { type Place, Reader } from './reader.ts'
import { readStored } from './reading.ts'
import { damaged, entryKey, tailKey } from './rows.ts'
import { Trimming } from './trimming.ts'

interface Needs {
  engine: Engine
  committer: Committer
  disk: DiskGuard
  hot: Hot
  clock: Clock
  random: Random
  observer: Partial<StorageObserver>
}
type Listener = (conversation: ConversationKey, entry: StoredEntry) => void

export class LevelLog implements MessageLog, Appending, Participant {
  readonly #needs: Needs
  readonly ulid: (time: EpochMs) => string
  readonly #listeners = new Set<Listener>()
  readonly #ends = new Ends()
  readonly #forgetting: Forgetting
  readonly #trimming: Trimming
  readonly #blocks: Blocks
  readonly #reader: Reader

  constructor(needs: Needs) {
    this.#needs = needs
    this.ulid = ulids(needs.random)
    this.#blocks = new Blocks(needs.engine)
    this.#reader = new Reader({ ...needs, ends: this.#ends, blocks: this.#blocks })
    this.#forgetting = new Forgetting({ log: this, ...needs })
    const failed = (cause: unknown) => needs.observer.listenerFailed?.(cause)
    this.#trimming = new Trimming({ log: this, ...needs, compaction: new Compaction(needs.engine, failed) })
    needs.committer.participants.push(this)
  }

  append(conversation: ConversationKey, draft: EntryDraft, options: AppendOptions = {}): Promise<StoredEntry> {
    return new Promise((resolve, reject) => {
      const append = new Append(this, { conversation, draft, options }, resolve, reject)
      this.#needs.disk.permit(append.bytes)
      this.#needs.committer.add(append)
    })
  }

  read(conversation: ConversationKey, range: ReadRange): Promise<StoredEntry[]> {
    return this.#reader.read(conversation, range)
  }
  get(wanted: readonly Place[]): Promise<(StoredEntry | undefined)[]> {
    return this.#reader.get(wanted)
  }
  tails(conversations: readonly ConversationKey[]): Promise<Tail[]> {
    return this.#reader.tails(conversations)
  }
  seqAt(conversation: ConversationKey, since: EpochMs): Promise<Seq> {
    return this.#reader.seqAt(conversation, since)
  }
  trim(conversation: ConversationKey, below: Seq): Promise<void> {
    return this.#trimming.trim(conversation, below)
  }

  follow(listener: Listener): () => void {
    // Each call is a subscription of its own, also of the same function.
    const own: Listener = (conversation, entry) => listener(conversation, entry)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  /** Nobody else appends. */
  watch(): () => void {
    return () => {}
  }

  // ---- for appends ----

  now(): EpochMs {
    return this.#needs.clock.now()
  }
  knows(conversation: ConversationKey): boolean {
    return this.#ends.moved(conversation) !== undefined || this.#needs.hot.tail(conversation) !== undefined
  }
  end(conversation: ConversationKey, rows: Rows): Readonly<TailRow> {
    const known = this.#ends.moved(conversation) ?? this.#needs.hot.tail(conversation)
    if (known) return known
    const key = tailKey(conversation)
    return readTail(key, rows.get(key))
  }
  moveEnd(conversation: ConversationKey, from: Readonly<TailRow>, to: Readonly<TailRow>): void {
    this.#ends.move(conversation, from, to)
  }

  stored(conversation: ConversationKey, entry: StoredEntry, tombstone: StoredEntry | undefined): void {
    this.#needs.hot.push(conversation, entry)
    if (tombstone) {
      this.#needs.hot.replace(conversation, tombstone)
      this.#blocks.retracted(conversation, tombstone.seq)
    }
    this.#tell(conversation, entry)
    this.#forgetting.appended(conversation, entry.seq)
  }

  #tell(conversation: ConversationKey, entry: StoredEntry): void {
    for (const listener of this.#listeners) {
      try {
        listener(conversation, entry)
      } catch (thrown) {
        this.#needs.observer.listenerFailed?.(thrown)
      }
    }
  }

  async repeat(append: Append, { seq, fingerprint }: DedupRow): Promise<StoredEntry> {
    const stored = await this.#found(append.conversation, seq)
    if (!append.isSaidBy(stored, fingerprint)) throw new Fault('client-message-id-reused', { seq })
    return stored.again()
  }

  /** An entry by its clientMessageId. It may be removed, or be so meanwhile. */
  async #found(conversation: ConversationKey, seq: Seq): Promise<StoredEntry> {
    const [entry] = await this.get([{ conversation, seq }])
    if (entry) return entry
    const key = entryKey(conversation, seq)
    const value = await this.#needs.engine.get(key)
    if (!value) throw damaged(key, 'it is missing')
    return removed(conversation, seq, value)
  }

  /** No reader gets what lies below. */
  trimmed(conversation: ConversationKey, first: Seq): void {
    this.#needs.hot.trim(conversation, first)
    this.#blocks.trimmed(conversation)
  }

  /** Ends what an earlier run has left under way. */
  resume(): void {
    void this.#trimming.resume()
  }

  // ---- for the committer ----

  beforeWrite(rows: Rows): void {
    for (const [conversation, tail] of this.#ends.allMoved()) {
      const key = tailKey(conversation)
      rows.put(key, tailValue(key, tail))
    }
  }
  afterWrite(): void {
    for (const [conversation, tail] of this.#ends.allMoved()) this.#needs.hot.setTail(conversation, tail)
    this.#ends.settled()
  }
  failed(): void {
    this.#ends.failed()
    this.#forget()
  }
  async recovered(): Promise<void> {
    // What was read since the write failed may be what was there without it.
    this.#forget()
    for (const [conversation, told] of this.#ends.allUntold()) {
      const key = tailKey(conversation)
      const { seq: end } = readTail(key, await this.#needs.engine.get(key))
      const range = { from: told.seq + 1, to: end, reverse: false, maxBytes: Number.POSITIVE_INFINITY }
      const entries = await readStored(this.#needs.engine, conversation, range)
      this.#ends.tell(conversation)
      for (const entry of entries) this.#tell(conversation, entry)
    }
    this.resume()
  }
  #forget(): void {
    this.#needs.hot.clear()
    this.#blocks.clear()
  }
}
