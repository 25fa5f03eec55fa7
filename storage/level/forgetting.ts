/**
 * Removes what finds repeats by clientMessageId, once it is older than 30 days and lies 10,000 entries back. A little at a
 * time, as the conversation grows.
 */
import type { StoredEntry } from '../../core/entry.ts'
import type { Clock, ConversationKey, MessageLog } from '../../core/ports.ts'
import type { StorageObserver } from '../open.ts'
import type { Appending } from './append.ts'
import type { Committer } from './committer.ts'
import type { Engine } from './engine.ts'
import { readDedup, readTail, type TailRow } from './entries.ts'
import type { Hot } from './hot.ts'
import type { Rows } from './overlay.ts'
import { dedupKey, tailKey } from './rows.ts'

interface Needs {
  log: MessageLog & Appending
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
    const { log } = this.#needs
    const tail = await this.#tail(conversation)
    const after = tail.forgotten as StoredEntry['seq']
    const upTo = Math.min(after + AT_ONCE, tail.seq - KEEP_ENTRIES)
    if (upTo <= after || !(await this.#isOld(conversation, after + 1))) return false
    const entries = await log.read(conversation, { after, before: (upTo + 1) as StoredEntry['seq'], limit: AT_ONCE })
    const old = entries.filter(entry => this.#isPast(entry))
    if (old.length > 0) await this.#remove(conversation, old)
    return old.length === AT_ONCE
  }

  #remove(conversation: ConversationKey, old: readonly StoredEntry[]): Promise<void> {
    const { log, committer } = this.#needs
    const rows = old.flatMap(({ seq, from, entry: { clientMessageId } }) =>
      clientMessageId === undefined ? [] : [{ seq, key: dedupKey(conversation, from, clientMessageId) }],
    )
    const decide = (batch: Rows) => {
      for (const { seq, key } of rows) {
        const stored = batch.get(key)
        // The id may have come again since, and then it finds the later entry.
        if (stored && readDedup(key, stored).seq === seq) batch.delete(key)
      }
      const end = log.end(conversation, batch)
      log.moveEnd(conversation, end, { ...end, forgotten: old.at(-1)?.seq ?? 0 })
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

  async #isOld(conversation: ConversationKey, seq: number): Promise<boolean> {
    const [entry] = await this.#needs.log.get([{ conversation, seq: seq as StoredEntry['seq'] }])
    return entry !== undefined && this.#isPast(entry)
  }
  #isPast({ sentAt }: StoredEntry): boolean {
    return sentAt < this.#needs.clock.now() - KEEP_MS
  }
}
