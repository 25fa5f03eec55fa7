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
import { Append, type Appending } from './append.ts'
import { Blocks } from './blocks.ts'
import type { Committer, Participant } from './committer.ts'
import type { DiskGuard } from './disk.ts'
import { Ends } from './ends.ts'
import type { Engine } from './engine.ts'
import { type DedupRow, NOTHING, readEntry, readTail, type TailRow, tailValue } from './entries.ts'
import { Forgetting } from './forgetting.ts'
import type { Hot } from './hot.ts'
import type { Rows } from './overlay.ts'
import { cut, MAX_ENTRIES, readStored } from './reading.ts'
import { damaged, entryKey, tailKey } from './rows.ts'
import { ulids } from './ulid.ts'

interface Needs {
  engine: Engine
  committer: Committer
  disk: DiskGuard
  hot: Hot
  clock: Clock
  random: Random
  observer: Partial<StorageObserver>
}
/** Who reads so much at once pages through history; a pump takes what its window has room for. */
const PAGE_BYTES = 1024 * 1024
interface Place {
  conversation: ConversationKey
  seq: Seq
}
type Listener = (conversation: ConversationKey, entry: StoredEntry) => void

export class LevelLog implements MessageLog, Appending, Participant {
  readonly #needs: Needs
  readonly ulid: (time: EpochMs) => string
  readonly #listeners = new Set<Listener>()
  readonly #ends = new Ends()
  readonly #forgetting: Forgetting
  readonly #blocks: Blocks

  constructor(needs: Needs) {
    this.#needs = needs
    this.ulid = ulids(needs.random)
    this.#blocks = new Blocks(needs.engine)
    this.#forgetting = new Forgetting({ log: this, ...needs })
    needs.committer.participants.push(this)
  }

  append(conversation: ConversationKey, draft: EntryDraft, options: AppendOptions = {}): Promise<StoredEntry> {
    return new Promise((resolve, reject) => {
      const append = new Append(this, { conversation, draft, options }, resolve, reject)
      this.#needs.disk.permit(append.bytes)
      this.#needs.committer.add(append)
    })
  }

  async read(conversation: ConversationKey, range: ReadRange): Promise<StoredEntry[]> {
    const { limit, maxBytes = Number.POSITIVE_INFINITY, reverse = false } = range
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_ENTRIES)
      throw new Fault('malformed', { issues: [{ path: ['limit'], message: 'From 1 to 1,000.' }] })
    const known = this.#needs.hot.tail(conversation)
    const tail = known ?? (await this.#tail(conversation))
    let from = (range.after ?? 0) + 1
    let to = Math.min((range.before ?? Number.MAX_SAFE_INTEGER) - 1, tail.seq)
    if (reverse) from = Math.max(from, to - limit + 1)
    else to = Math.min(to, from + limit - 1)
    if (from > to) return []
    const hot = this.#needs.hot.range(conversation, from, to)
    if (hot) return cut(reverse ? hot.reverse() : hot, maxBytes)
    const span = { from, to, reverse, maxBytes }
    if (maxBytes >= PAGE_BYTES) return this.#blocks.read(conversation, span, tail.seq)
    const entries = await readStored(this.#needs.engine, conversation, span)
    // An append since may have taken one of them back.
    if (known && known === this.#needs.hot.tail(conversation))
      this.#needs.hot.offer(conversation, reverse ? entries.toReversed() : entries, known)
    return entries
  }

  async get(wanted: readonly Place[]): Promise<(StoredEntry | undefined)[]> {
    const entries = wanted.map(({ conversation, seq }) => this.#needs.hot.get(conversation, seq))
    const cold = [...wanted.keys()].filter(at => !entries[at] && this.#isTold(wanted[at] as Place))
    if (cold.length === 0) return entries
    const asked = cold.map(at => wanted[at] as Place)
    const values = await this.#needs.engine.getMany(asked.map(at => entryKey(at.conversation, at.seq)))
    const absent: typeof asked = []
    asked.forEach((at, nth) => {
      const value = values[nth]
      if (value) entries[cold[nth] as number] = readEntry(at.conversation, at.seq, value)
      else absent.push(at)
    })
    if (absent.length > 0) await this.#mustBeAbsent(absent)
    return entries
  }

  async tails(conversations: readonly ConversationKey[]): Promise<Tail[]> {
    const { hot, engine, committer } = this.#needs
    const tails = conversations.map(conversation => hot.tail(conversation) ?? this.#ends.told(conversation))
    const cold = [...conversations.keys()].filter(at => !tails[at])
    if (cold.length > 0) {
      const { generation } = committer
      const values = await engine.getMany(cold.map(at => tailKey(conversations[at] as ConversationKey)))
      cold.forEach((at, nth) => {
        const conversation = conversations[at] as ConversationKey
        const tail = readTail(tailKey(conversation), values[nth])
        // An append since then may have moved it.
        if (generation === committer.generation && tail !== NOTHING) hot.setTail(conversation, tail)
        tails[at] = this.#ends.told(conversation) ?? tail
      })
    }
    return tails.map(tail => ({ seq: tail?.seq ?? 0, n: tail?.n ?? 0, sentAt: tail?.sentAt ?? 0 }))
  }

  async seqAt(conversation: ConversationKey, since: EpochMs): Promise<Seq> {
    const tail = await this.#tail(conversation)
    let low = 1
    let high = tail.sentAt < since ? low - 1 : tail.seq
    if (high === 0) return (tail.seq + 1) as Seq
    while (low < high) {
      const middle = Math.floor((low + high) / 2) as Seq
      if ((await this.#entry(conversation, middle)).sentAt >= since) high = middle
      else low = middle + 1
    }
    return low as Seq
  }

  follow(listener: Listener): () => void {
    // Each call is a subscription of its own, also of the same function.
    const own: Listener = (conversation, entry) => listener(conversation, entry)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
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
    const stored = await this.#entry(append.conversation, seq)
    if (!append.isSaidBy(stored, fingerprint)) throw new Fault('client-message-id-reused', { seq })
    return stored.again()
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
    this.#needs.hot.clear()
    this.#blocks.clear()
  }
  async recovered(): Promise<void> {
    for (const [conversation, told] of this.#ends.allUntold()) {
      const key = tailKey(conversation)
      const { seq: end } = readTail(key, await this.#needs.engine.get(key))
      const range = { from: told.seq + 1, to: end, reverse: false, maxBytes: Number.POSITIVE_INFINITY }
      const entries = await readStored(this.#needs.engine, conversation, range)
      this.#ends.tell(conversation)
      for (const entry of entries) this.#tell(conversation, entry)
    }
  }

  // ---- helpers ----

  #isTold({ conversation, seq }: Place): boolean {
    return seq <= (this.#ends.told(conversation)?.seq ?? seq)
  }

  async #tail(conversation: ConversationKey): Promise<Tail> {
    const [tail] = await this.tails([conversation])
    return tail ?? NOTHING
  }

  async #entry(conversation: ConversationKey, seq: Seq): Promise<StoredEntry> {
    const [entry] = await this.get([{ conversation, seq }])
    if (!entry) throw damaged(entryKey(conversation, seq), 'it is missing')
    return entry
  }

  /** Every position up to the tail has its row. */
  async #mustBeAbsent(absent: readonly Place[]): Promise<void> {
    const tails = await this.tails(absent.map(({ conversation }) => conversation))
    absent.forEach(({ conversation, seq }, nth) => {
      if (seq >= 1 && seq <= (tails[nth]?.seq ?? 0)) throw damaged(entryKey(conversation, seq), 'it is missing')
    })
  }
}
