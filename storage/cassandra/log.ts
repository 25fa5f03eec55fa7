/** The log over Cassandra: buckets of entries, appended to by compare-and-set on their tail. */
import type { StoredEntry } from '../../core/entry.ts'
import type {
  AppendOptions,
  Bus,
  Clock,
  Cluster,
  ConversationKey,
  EntryDraft,
  MessageLog,
  ReadRange,
  Tail,
} from '../../core/ports.ts'
import type { EpochMs, Seq } from '../../protocol/ids.ts'
import type { StorageObserver } from '../open.ts'
import { Append } from './append.ts'
import { Contests } from './contests.ts'
import type { Decisions } from './decisions.ts'
import { type End, type Ends, markSettled } from './ends.ts'
import { ENTRY } from './entries.ts'
import { Lane } from './lane.ts'
import { Reader } from './reader.ts'
import type { Redo } from './redo.ts'
import { Retractions } from './retractions.ts'
import type { Ring, Row } from './ring.ts'
import { Rounds } from './rounds.ts'
import { trim } from './trimming.ts'
import type { View } from './view.ts'
import type { Writer } from './writer.ts'

type Listener = (conversation: ConversationKey, entry: StoredEntry, elsewhere?: true) => void

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
  /** The other nodes; absent: this one is alone. */
  cluster?: Pick<Cluster, 'node' | 'bus' | 'leases'> | undefined
}

/** What lanes and reads share. */
export interface Shared extends Needs {
  readonly bus: Bus | undefined
  readonly contests: Contests | undefined
  readonly retractions: Retractions
  closed(): boolean
  /** One entry as a row, as it was decided. */
  row(conversation: ConversationKey, seq: Seq): Promise<Row | undefined>
  tell: Listener
  read(conversation: ConversationKey, range: ReadRange): Promise<StoredEntry[]>
  /** Entries may have been appended that are not told: what is kept of the conversation is to be read again. */
  lost(conversation: ConversationKey): void
  /** Makes the record changes that whoever appended could not. */
  settle(conversation: ConversationKey, end: End): Promise<void>
}

const MAX_LANES = 100_000
/** Lanes that are asked whether they can be forgotten, for each that comes. */
const ASKED = 16

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
  readonly bus: Bus | undefined
  readonly contests: Contests | undefined
  readonly #lanes = new Map<ConversationKey, Lane>()
  readonly #listeners = new Set<Listener>()
  readonly #losers = new Set<(conversation: ConversationKey) => void>()
  readonly #reader: Reader
  #closed = false
  readonly #rounds: Rounds | undefined

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
    this.bus = needs.cluster?.bus
    this.contests = needs.cluster && new Contests(needs.cluster)
    this.#reader = new Reader(this)
    this.#rounds = needs.cluster && new Rounds(this, needs.cluster, () => this.#views())
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
  async tails(conversations: readonly ConversationKey[]): Promise<Tail[]> {
    const tails = await this.#reader.tails(conversations)
    // What was stored and announced to nobody is told here, too: who appended it may have died.
    for (const [nth, { seq }] of tails.entries())
      this.#lanes.get(conversations[nth] as ConversationKey)?.view.reaches(seq)
    return tails
  }
  seqAt(conversation: ConversationKey, since: EpochMs): Promise<Seq> {
    return this.#reader.seqAt(conversation, since)
  }
  trim(conversation: ConversationKey, below: Seq): Promise<void> {
    return trim(this, conversation, below)
  }
  follow(listener: Listener, lost?: (conversation: ConversationKey) => void): () => void {
    const own: Listener = (...told) => listener(...told)
    const ownLost = (conversation: ConversationKey) => lost?.(conversation)
    this.#listeners.add(own)
    this.#losers.add(ownLost)
    return () => {
      this.#listeners.delete(own)
      this.#losers.delete(ownLost)
    }
  }
  watch(conversation: ConversationKey): () => void {
    return this.#lane(conversation).view.watch()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#rounds?.close()
    await Promise.all([...this.#lanes.values()].map(lane => lane.idle()))
    this.contests?.close()
    await this.#rounds?.idle()
  }

  /** What others may append to unseen; the most lately used first. */
  #views(): View[] {
    return [...this.#lanes.values()].reverse().flatMap(({ view }) => (view.isFollowed ? view : []))
  }

  // ---- shared ----

  closed = (): boolean => this.#closed

  async row(conversation: ConversationKey, seq: Seq): Promise<Row | undefined> {
    const query = `SELECT ${ENTRY} FROM log WHERE conversation = ? AND bucket = ? AND seq = ? AND name = ''`
    const [row] = await this.ring.read(query, [conversation, this.ends.bucketOf(seq), seq])
    return row && this.retractions.seen(conversation, row)
  }

  tell(conversation: ConversationKey, entry: StoredEntry, elsewhere?: true): void {
    for (const listener of this.#listeners) {
      try {
        listener(conversation, entry, elsewhere)
      } catch (thrown) {
        this.observer.listenerFailed?.(thrown)
      }
    }
  }

  lost(conversation: ConversationKey): void {
    for (const listener of this.#losers) listener(conversation)
  }

  async settle(conversation: ConversationKey, { seq, settled, first }: End): Promise<void> {
    if (settled >= seq) return
    const from = Math.max(settled, first - 1)
    if ((await this.#makeAgain(conversation, from, seq)) < seq - from) {
      // Not every replica has the last ones, if they have not been removed since: after this a majority has.
      const now = await this.ends.find(conversation, true)
      const rest = Math.max(from, now.first - 1)
      // What is missing then is lost, and is told where it is read.
      if ((await this.#makeAgain(conversation, rest, seq)) < seq - rest) return
    }
    await this.ring.write([markSettled(conversation, seq)])
  }

  /** How many entries there are; the changes that go with them are made. */
  async #makeAgain(conversation: ConversationKey, from: number, seq: number): Promise<number> {
    const query = `SELECT seq, redo FROM log WHERE conversation = ? AND bucket = ? AND seq > ? AND seq <= ?`
    let found = 0
    for (let bucket = this.ends.bucketOf(from + 1); bucket <= this.ends.bucketOf(seq); bucket++) {
      const rows = await this.ring.read(query, [conversation, bucket, from, seq])
      found += rows.length
      for (const { redo } of rows)
        if (typeof redo === 'string') await this.writer.writeRanked(this.redo.changesOf(redo))
    }
    return found
  }

  #lane(conversation: ConversationKey): Lane {
    const there = this.#lanes.get(conversation)
    if (there) this.#lanes.delete(conversation)
    const lane = there ?? new Lane(this, conversation)
    this.#lanes.set(conversation, lane)
    if (this.#lanes.size > MAX_LANES) this.#forget()
    return lane
  }

  /** The least used that nobody needs; those that are needed wait for their next time behind all others. */
  #forget(): void {
    let asked = 0
    for (const [conversation, lane] of this.#lanes) {
      this.#lanes.delete(conversation)
      if (lane.isIdle) lane.view.forget()
      else this.#lanes.set(conversation, lane)
      if (lane.isIdle || ++asked === ASKED) return
    }
  }
}
