/**
 * Removes what finds repeats by clientMessageId, once it is older than 30 days and lies 10,000 entries back. A little at a
 * time, as the conversation grows.
 */
import type { StoredEntry } from '../../core/entry.ts'
import type { Clock, ConversationKey } from '../../core/ports.ts'
import type { StorageObserver } from '../open.ts'
import type { Appending } from './append.ts'
import type { Committer } from './committer.ts'
import type { Engine } from './engine.ts'
import { readDedup, readEntry, readTail, type TailRow } from './entries.ts'
import type { Hot } from './hot.ts'
import type { Rows } from './overlay.ts'
import { dedupKey, entryKey, seqOf, tailKey } from './rows.ts'

interface Needs {
  log: Appending
  engine: Engine
  committer: Committer
  clock: Clock
  hot: Hot
  observer: Partial<StorageObserver>
}

const KEEP_MS = 30 * 24 * 60 * 60 * 1000
const KEEP_ENTRIES = 10_000
const EVERY = 64
const AT_ONCE = 2 * EVERY
/** A conversation that grows fast gets through its turns slowly, so that some were missed. */
const STEPS = 8

export class Forgetting {
  readonly #needs: Needs
  readonly #busy = new Set<ConversationKey>()

  constructor(needs: Needs) {
    this.#needs = needs
  }

  appended(conversation: ConversationKey, seq: number): void {
    if (seq % EVERY !== 0 || seq <= KEEP_ENTRIES || this.#busy.has(conversation)) return
    this.#busy.add(conversation)
    this.#forget(conversation)
      .catch(cause => this.#needs.observer.listenerFailed?.(cause))
      .finally(() => this.#busy.delete(conversation))
  }

  async #forget(conversation: ConversationKey): Promise<void> {
    for (let step = 0; step < STEPS; step++) if (!(await this.#forgetSome(conversation))) return
  }

  /** Whether there may be more. */
  async #forgetSome(conversation: ConversationKey): Promise<boolean> {
    const tail = await this.#tail(conversation)
    const from = tail.forgotten + 1
    const upTo = Math.min(tail.forgotten + AT_ONCE, tail.seq - KEEP_ENTRIES)
    if (upTo < from) return false
    const [oldest] = await this.#rows(conversation, from, upTo, 1)
    if (oldest && !this.#isPast(oldest)) return false
    const entries = await this.#rows(conversation, from, upTo, AT_ONCE)
    const young = entries.find(entry => !this.#isPast(entry))
    const past = young ? young.seq - 1 : upTo
    await this.#remove(
      conversation,
      entries.filter(({ seq }) => seq <= past),
      past,
    )
    return past - from === AT_ONCE - 1
  }

  /** Of entries that were removed only some have left a row. */
  async #rows(conversation: ConversationKey, from: number, upTo: number, limit: number): Promise<StoredEntry[]> {
    const range = { gte: entryKey(conversation, from), lte: entryKey(conversation, upTo), limit }
    const rows = await this.#needs.engine.rows(range)
    return rows.map(([key, value]) => readEntry(conversation, seqOf(key), value))
  }

  #remove(conversation: ConversationKey, old: readonly StoredEntry[], upTo: number): Promise<void> {
    const { log, committer } = this.#needs
    const rows = old.flatMap(({ seq, from, entry: { clientMessageId } }) =>
      clientMessageId === undefined ? [] : [{ seq, key: dedupKey(conversation, from, clientMessageId) }],
    )
    const decide = (batch: Rows) => {
      const end = log.end(conversation, batch)
      for (const { seq, key } of rows) {
        const stored = batch.get(key)
        // The id may have come again since, and then it finds the later entry.
        if (stored && readDedup(key, stored).seq === seq) batch.delete(key)
        // What stayed of a removed entry has found its last repeat.
        if (seq < end.first) batch.delete(entryKey(conversation, seq))
      }
      log.moveEnd(conversation, end, { ...end, forgotten: Math.max(end.forgotten, upTo) })
    }
    return new Promise((committed, refused) => {
      const keys = () => [...rows.map(({ key }) => key), tailKey(conversation)]
      committer.add({ bytes: rows.length * 64, durable: false, keys, decide, committed, refused })
    })
  }

  async #tail(conversation: ConversationKey): Promise<Readonly<TailRow>> {
    const key = tailKey(conversation)
    return this.#needs.hot.tail(conversation) ?? readTail(key, await this.#needs.engine.get(key))
  }

  #isPast({ sentAt }: StoredEntry): boolean {
    return sentAt < this.#needs.clock.now() - KEEP_MS
  }
}
