/** The log over Cassandra: buckets of entries, appended to by compare-and-set on their tail. */
import type { StoredEntry } from '../../core/entry.ts'
import type {
  AppendOptions,
  Clock,
  ConversationKey,
  EntryDraft,
  MessageLog,
  ReadRange,
  Tail,
} from '../../core/ports.ts'
import type { EpochMs, Seq } from '../../protocol/ids.ts'
import type { StorageObserver } from '../open.ts'
import { Append } from './append.ts'
import type { Decisions } from './decisions.ts'
import { type End, type Ends, markSettled } from './ends.ts'
import { ENTRY } from './entries.ts'
import { Lane } from './lane.ts'
import { Reader } from './reader.ts'
import type { Redo } from './redo.ts'
import { Retractions } from './retractions.ts'
import type { Ring, Row } from './ring.ts'
import { trim } from './trimming.ts'
import type { Writer } from './writer.ts'

type Listener = (conversation: ConversationKey, entry: StoredEntry) => void

interface Needs {
  ring: Ring
  ends: Ends
  writer: Writer
  decisions: Decisions
  redo: Redo
  clock: Clock
  ulid: (time: EpochMs) => string
  pause: (ms: number) => Promise<void>
  observer: Partial<StorageObserver>
}

/** What lanes and reads share. */
export interface Shared extends Needs {
  readonly retractions: Retractions
  closed(): boolean
  /** One entry as a row, as it was decided. */
  row(conversation: ConversationKey, seq: Seq): Promise<Row | undefined>
  tell(conversation: ConversationKey, entry: StoredEntry): void
  /** Reads what others appended, and tells it. */
  tellFrom(conversation: ConversationKey, after: number, upTo: number): Promise<void>
  /** Entries may have been appended that were not told. */
  missed(conversation: ConversationKey): void
  /** Makes the record changes that whoever appended could not. */
  settle(conversation: ConversationKey, end: End): Promise<void>
}

const MAX_LANES = 100_000
const PAGE = 500

export class CassandraLog implements MessageLog, Shared {
  readonly ring: Ring
  readonly ends: Ends
  readonly writer: Writer
  readonly decisions: Decisions
  readonly redo: Redo
  readonly clock: Clock
  readonly ulid: (time: EpochMs) => string
  readonly pause: (ms: number) => Promise<void>
  readonly observer: Partial<StorageObserver>
  readonly retractions: Retractions
  readonly #lanes = new Map<ConversationKey, Lane>()
  readonly #listeners = new Set<Listener>()
  readonly #reader: Reader
  #closed = false

  constructor(needs: Needs) {
    this.ring = needs.ring
    this.ends = needs.ends
    this.writer = needs.writer
    this.decisions = needs.decisions
    this.redo = needs.redo
    this.clock = needs.clock
    this.ulid = needs.ulid
    this.pause = needs.pause
    this.observer = needs.observer
    this.retractions = new Retractions(needs.ring, needs.decisions, seq => needs.ends.bucketOf(seq))
    this.#reader = new Reader(this)
  }

  append(conversation: ConversationKey, draft: EntryDraft, options: AppendOptions = {}): Promise<StoredEntry> {
    return new Promise((resolve, reject) => {
      this.#lane(conversation).add(new Append(draft, options, resolve, reject))
    })
  }
  read(conversation: ConversationKey, range: ReadRange): Promise<StoredEntry[]> {
    return this.#reader.read(conversation, range)
  }
  get(wanted: readonly { conversation: ConversationKey; seq: Seq }[]): Promise<(StoredEntry | undefined)[]> {
    return this.#reader.get(wanted)
  }
  tails(conversations: readonly ConversationKey[]): Promise<Tail[]> {
    return this.#reader.tails(conversations)
  }
  seqAt(conversation: ConversationKey, since: EpochMs): Promise<Seq> {
    return this.#reader.seqAt(conversation, since)
  }
  trim(conversation: ConversationKey, below: Seq): Promise<void> {
    return trim(this, conversation, below)
  }
  follow(listener: Listener): () => void {
    const own: Listener = (conversation, entry) => listener(conversation, entry)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#lanes.values()].map(lane => lane.idle()))
  }

  // ---- shared ----

  closed = (): boolean => this.#closed

  async row(conversation: ConversationKey, seq: Seq): Promise<Row | undefined> {
    const query = `SELECT ${ENTRY} FROM log WHERE conversation = ? AND bucket = ? AND seq = ? AND name = ''`
    const [row] = await this.ring.read(query, [conversation, this.ends.bucketOf(seq), seq])
    return row && this.retractions.seen(conversation, row)
  }

  tell(conversation: ConversationKey, entry: StoredEntry): void {
    for (const listener of this.#listeners) {
      try {
        listener(conversation, entry)
      } catch (thrown) {
        this.observer.listenerFailed?.(thrown)
      }
    }
  }

  async tellFrom(conversation: ConversationKey, after: number, upTo: number): Promise<void> {
    for (let from = after; from < upTo; ) {
      const range = { after: from as Seq, before: (upTo + 1) as Seq, limit: PAGE }
      const entries = await this.read(conversation, range)
      for (const entry of entries) this.tell(conversation, entry)
      from = entries.at(-1)?.seq ?? upTo
    }
  }

  missed(_conversation: ConversationKey): void {}

  async settle(conversation: ConversationKey, { seq, settled, first }: End): Promise<void> {
    if (settled >= seq) return
    const query = `SELECT seq, redo FROM log WHERE conversation = ? AND bucket = ? AND seq > ? AND seq <= ?`
    const from = Math.max(settled, first - 1)
    for (let bucket = this.ends.bucketOf(from + 1); bucket <= this.ends.bucketOf(seq); bucket++) {
      for (const { redo } of await this.ring.read(query, [conversation, bucket, from, seq]))
        if (typeof redo === 'string') await this.writer.writeRanked(this.redo.changesOf(redo))
    }
    await this.ring.write([markSettled(conversation, seq)])
  }

  #lane(conversation: ConversationKey): Lane {
    const there = this.#lanes.get(conversation)
    if (there) this.#lanes.delete(conversation)
    const lane = there ?? new Lane(this, conversation)
    this.#lanes.set(conversation, lane)
    if (this.#lanes.size > MAX_LANES) this.#forget()
    return lane
  }

  #forget(): void {
    for (const [conversation, lane] of this.#lanes) {
      if (!lane.isIdle) continue
      this.#lanes.delete(conversation)
      return
    }
  }
}
