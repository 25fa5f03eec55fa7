/** What is in memory of busy conversations: their ends, and their newest entries. Only what is durable. */
import type { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey } from '../../core/ports.ts'
import type { Seq } from '../../protocol/ids.ts'
import type { TailRow } from './entries.ts'

const MAX_TAILS = 100_000
const MAX_BYTES = 16 * 1024 * 1024
/** Entries of one conversation, at most; half of them go at a time. */
const MAX_ENTRIES = 512
const MAX_CONVERSATION_BYTES = 1024 * 1024
/** Objects around an entry's bytes. */
const ENTRY_BYTES = 200

interface Recent {
  /** Without gaps; the last one is the conversation's newest. */
  entries: StoredEntry[]
  bytes: number
}

export class Hot {
  readonly #tails = new Map<ConversationKey, Readonly<TailRow>>()
  readonly #recent = new Map<ConversationKey, Recent>()
  #bytes = 0

  tail(conversation: ConversationKey): Readonly<TailRow> | undefined {
    return this.#tails.get(conversation)
  }

  setTail(conversation: ConversationKey, tail: Readonly<TailRow>): void {
    this.#tails.delete(conversation)
    this.#tails.set(conversation, tail)
    if (this.#tails.size > MAX_TAILS) this.#tails.delete(first(this.#tails))
  }

  push(conversation: ConversationKey, entry: StoredEntry): void {
    let recent = this.#recent.get(conversation)
    if (recent) this.#recent.delete(conversation)
    else recent = { entries: [], bytes: 0 }
    this.#recent.set(conversation, recent)
    recent.entries.push(entry)
    this.#count(recent, cost(entry))
    if (recent.entries.length > MAX_ENTRIES || recent.bytes > MAX_CONVERSATION_BYTES)
      this.#shorten(recent, recent.entries.length >> 1)
    while (this.#bytes > MAX_BYTES) this.#drop(first(this.#recent))
  }

  /** Entries that were read, ascending, kept where they end at the tail or join those that are here. */
  offer(conversation: ConversationKey, read: readonly StoredEntry[], tail: Readonly<TailRow>): void {
    const recent = this.#recent.get(conversation) ?? { entries: [], bytes: 0 }
    const next = recent.entries[0]?.seq ?? tail.seq + 1
    const entries = read.filter(entry => entry.seq < next)
    if (entries.at(-1)?.seq !== next - 1 || recent.entries.length + entries.length > MAX_ENTRIES) return
    const bytes = entries.reduce((sum, entry) => sum + cost(entry), 0)
    if (recent.bytes + bytes > MAX_CONVERSATION_BYTES) return
    this.#recent.set(conversation, recent)
    recent.entries.unshift(...entries)
    this.#count(recent, bytes)
    while (this.#bytes > MAX_BYTES) this.#drop(first(this.#recent))
  }

  /** A body that was taken back is gone from here too. */
  replace(conversation: ConversationKey, entry: StoredEntry): void {
    const recent = this.#recent.get(conversation)
    const at = recent ? entry.seq - (recent.entries[0]?.seq ?? 0) : -1
    const old = recent?.entries[at]
    if (!recent || !old) return
    recent.entries[at] = entry
    this.#count(recent, cost(entry) - cost(old))
  }

  /** What lies below is removed. */
  trim(conversation: ConversationKey, first: Seq): void {
    const recent = this.#recent.get(conversation)
    const gone = recent?.entries.findIndex(({ seq }) => seq >= first) ?? 0
    if (recent && gone > 0) this.#shorten(recent, gone)
  }

  get(conversation: ConversationKey, seq: Seq): StoredEntry | undefined {
    const entries = this.#recent.get(conversation)?.entries
    return entries?.[seq - (entries[0]?.seq ?? 0)]
  }

  /** `from` to `to`, both included, if all of them are here. */
  range(conversation: ConversationKey, from: number, to: number): StoredEntry[] | undefined {
    const entries = this.#recent.get(conversation)?.entries
    const start = entries?.[0]?.seq
    const end = entries?.at(-1)?.seq
    if (!entries || start === undefined || end === undefined || from < start || to > end) return undefined
    return entries.slice(from - start, to - start + 1)
  }

  clear(): void {
    this.#tails.clear()
    this.#recent.clear()
    this.#bytes = 0
  }

  #shorten(recent: Recent, by: number): void {
    const gone = recent.entries.splice(0, by)
    this.#count(recent, -gone.reduce((sum, entry) => sum + cost(entry), 0))
  }
  #drop(conversation: ConversationKey): void {
    this.#bytes -= this.#recent.get(conversation)?.bytes ?? 0
    this.#recent.delete(conversation)
  }
  #count(recent: Recent, bytes: number): void {
    recent.bytes += bytes
    this.#bytes += bytes
  }
}

const cost = (entry: StoredEntry) => entry.bytes.length + ENTRY_BYTES
const first = <K>(map: Map<K, unknown>) => map.keys().next().value as K
