/** History in memory: whole blocks of entries that were read, the least recently used ones forgotten. */
import type { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey } from '../../core/ports.ts'
import type { Engine } from './engine.ts'
import { cut, readStored } from './reading.ts'

/** Entries of a block. A page of 50 touches two or three: what is read beside it is soon asked for. */
const SIZE = 32
const MAX_BYTES = 16 * 1024 * 1024
/** A block of large entries is not kept. */
const MAX_BLOCK_BYTES = 256 * 1024
/** Objects around an entry's bytes. */
const ENTRY_BYTES = 200

interface Block {
  entries: StoredEntry[]
  bytes: number
}
/** Of a conversation: its first entry and its last. */
interface Ends {
  first: number
  seq: number
}
interface Span {
  /** Both included, and both within the conversation's ends. */
  from: number
  to: number
  reverse: boolean
  maxBytes: number
}

export class Blocks {
  readonly #engine: Engine
  readonly #blocks = new Map<string, Block>()
  #bytes = 0
  /** Counts what was taken back: a block that was read before is not kept after it. */
  #retractions = 0

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** @throws Fault `log-unavailable`: a row is missing or damaged. */
  async read(conversation: ConversationKey, span: Span, ends: Ends): Promise<StoredEntry[]> {
    try {
      return await this.#read(conversation, span, ends)
    } catch {
      // What is damaged beside the range is no reason to refuse it.
      return readStored(this.#engine, conversation, span)
    }
  }

  async #read(conversation: ConversationKey, span: Span, ends: Ends): Promise<StoredEntry[]> {
    const first = blockOf(span.from)
    const last = blockOf(span.to)
    const found = Array.from({ length: last - first + 1 }, (_, nth) => this.#get(conversation, first + nth))
    for (let at = 0; at < found.length; at++) {
      let run = 0
      while (at + run < found.length && !found[at + run]) run++
      if (run === 0) continue
      const read = await this.#load(conversation, first + at, run, ends)
      found.splice(at, run, ...read)
      at += run
    }
    const all = found.flatMap(entries => entries ?? [])
    const start = span.from - (all[0]?.seq ?? 0)
    const wanted = all.slice(start, start + span.to - span.from + 1)
    return cut(span.reverse ? wanted.reverse() : wanted, span.maxBytes)
  }

  /** A body of the conversation was taken back: it is gone from here too. */
  retracted(conversation: ConversationKey, seq: number): void {
    this.#retractions++
    this.#drop(nameOf(conversation, blockOf(seq)))
  }

  /** Entries of the conversation are removed. */
  trimmed(conversation: ConversationKey): void {
    this.#retractions++
    for (const name of [...this.#blocks.keys()]) if (name.startsWith(`${conversation}\0`)) this.#drop(name)
  }

  clear(): void {
    this.#retractions++
    this.#blocks.clear()
    this.#bytes = 0
  }

  async #load(conversation: ConversationKey, first: number, count: number, ends: Ends): Promise<StoredEntry[][]> {
    const before = this.#retractions
    const from = Math.max(startOf(first), ends.first)
    const to = Math.min(startOf(first + count) - 1, ends.seq)
    const entries = await readStored(this.#engine, conversation, {
      from,
      to,
      reverse: false,
      maxBytes: Number.POSITIVE_INFINITY,
    })
    return Array.from({ length: count }, (_, nth) => {
      const start = startOf(first + nth) - from
      const block = entries.slice(Math.max(0, start), start + SIZE)
      if (block.length === SIZE && before === this.#retractions) this.#keep(nameOf(conversation, first + nth), block)
      return block
    })
  }

  #get(conversation: ConversationKey, number: number): StoredEntry[] | undefined {
    const name = nameOf(conversation, number)
    const block = this.#blocks.get(name)
    if (!block) return undefined
    this.#blocks.delete(name)
    this.#blocks.set(name, block)
    return block.entries
  }

  #keep(name: string, entries: StoredEntry[]): void {
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes.length + ENTRY_BYTES, 0)
    if (bytes > MAX_BLOCK_BYTES) return
    this.#drop(name)
    this.#blocks.set(name, { entries, bytes })
    this.#bytes += bytes
    // A Map gives its keys in the order they were set, so the first is the one used least recently.
    while (this.#bytes > MAX_BYTES) this.#drop(this.#blocks.keys().next().value as string)
  }

  #drop(name: string): void {
    this.#bytes -= this.#blocks.get(name)?.bytes ?? 0
    this.#blocks.delete(name)
  }
}

const blockOf = (seq: number) => Math.floor((seq - 1) / SIZE)
const startOf = (block: number) => block * SIZE + 1
const nameOf = (conversation: ConversationKey, block: number) => `${conversation}\0${block}`
