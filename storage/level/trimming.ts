/**
 * Removes the entries below a position. First the position moves, durably and for every reader at once; then the rows go,
 * a few at a time. A row says where they begin until all are gone, so that what a crash leaves goes after the next opening.
 *
 * Of an entry with a clientMessageId its place, sender and time stay, and forgetting.ts removes them in the end: who
 * repeats the message must not have it stored twice.
 */
import type { ConversationKey, MessageLog } from '../../core/ports.ts'
import type { Seq } from '../../protocol/ids.ts'
import type { StorageObserver } from '../open.ts'
import { behind } from '../shape.ts'
import type { Appending } from './append.ts'
import type { Committer } from './committer.ts'
import type { Compaction } from './compaction.ts'
import type { Engine } from './engine.ts'
import { readTrim, remains, trimValue } from './entries.ts'
import type { Rows } from './overlay.ts'
import { entryKey, seqOf, tailKey, trimKey } from './rows.ts'

interface Needs {
  log: Pick<MessageLog, 'tails'> &
    Pick<Appending, 'end' | 'moveEnd'> & { trimmed(conversation: ConversationKey, first: Seq): void }
  engine: Engine
  committer: Committer
  compaction: Compaction
  observer: Partial<StorageObserver>
}
interface Step {
  rows: { key: string; seq: Seq; remains: Buffer | undefined }[]
  freed: number
  /** Where the next step begins. */
  next: number
}

/** Rows of one step; each may be as large as a message. */
const AT_ONCE = 64
const MARKS_AT_ONCE = 100
/** A row's key and what the engine keeps beside it. */
const ROW_BYTES = 40

export class Trimming {
  readonly #needs: Needs
  /** Conversations that have rows to go. */
  readonly #waiting = new Set<ConversationKey>()
  #working = false

  constructor(needs: Needs) {
    this.#needs = needs
  }

  trim(conversation: ConversationKey, below: Seq): Promise<void> {
    const { log } = this.#needs
    const mark = trimKey(conversation)
    let first: Seq | undefined
    const decide = (rows: Rows) => {
      const end = log.end(conversation, rows)
      // The last entry stays: it says when something was last said, and where the numbers go on.
      const wanted = Math.min(below, end.seq) as Seq
      if (wanted <= end.first) return
      first = wanted
      log.moveEnd(conversation, end, { ...end, first })
      if (!rows.get(mark)) rows.put(mark, trimValue(mark, end.first))
    }
    return this.#commit([tailKey(conversation), mark], true, decide).then(() => {
      if (first !== undefined) log.trimmed(conversation, first)
      // Also what an earlier removal could not finish.
      this.#remove(conversation)
    })
  }

  /** Goes on with all that is under way by the database. */
  async resume(): Promise<void> {
    try {
      for (let after = trimKey('' as ConversationKey); ; ) {
        const marks = await this.#needs.engine.rows({ gt: after, lt: behind('o\0'), limit: MARKS_AT_ONCE })
        for (const [mark] of marks) this.#remove(mark.slice(2) as ConversationKey)
        after = marks.at(-1)?.[0] ?? after
        if (marks.length < MARKS_AT_ONCE) return
      }
    } catch (cause) {
      this.#failed(cause)
    }
  }

  #remove(conversation: ConversationKey): void {
    this.#waiting.add(conversation)
    if (this.#working) return
    this.#working = true
    void this.#work()
  }

  /** One conversation after the other, so that messages hardly wait. What is added meanwhile comes too. */
  async #work(): Promise<void> {
    for (const conversation of this.#waiting) {
      this.#waiting.delete(conversation)
      try {
        while (await this.#removeSome(conversation)) {}
      } catch (cause) {
        // The next trim or the next opening goes on.
        this.#failed(cause)
      }
    }
    this.#working = false
  }

  /** Whether there may be more. */
  async #removeSome(conversation: ConversationKey): Promise<boolean> {
    const { engine, compaction, log } = this.#needs
    const mark = trimKey(conversation)
    const value = await engine.get(mark)
    if (!value) return false
    const from = readTrim(mark, value)
    const step = await this.#look(conversation, from)
    await this.#commit([tailKey(conversation), mark], false, rows => {
      const { first, forgotten } = log.end(conversation, rows)
      for (const { key, seq, remains } of step.rows) {
        if (remains && seq > forgotten) rows.put(key, remains)
        else rows.delete(key)
      }
      if (step.next >= first) rows.delete(mark)
      else rows.put(mark, trimValue(mark, step.next))
    })
    if (step.freed > 0) compaction.freed(entryKey(conversation, from), entryKey(conversation, step.next), step.freed)
    return true
  }

  async #look(conversation: ConversationKey, from: number): Promise<Step> {
    const { engine, log } = this.#needs
    const [end] = await log.tails([conversation])
    const first = end?.first ?? from
    const range = { gte: entryKey(conversation, from), lt: entryKey(conversation, first), limit: AT_ONCE }
    let freed = 0
    const rows = (await engine.rows(range)).map(([key, value]) => {
      const seq = seqOf(key)
      const left = remains(conversation, seq, value)
      freed += value.length - (left?.length ?? -ROW_BYTES)
      return { key, seq, remains: left }
    })
    return { rows, freed, next: rows.length < AT_ONCE ? first : (rows.at(-1)?.seq ?? 0) + 1 }
  }

  #commit(keys: readonly string[], durable: boolean, decide: (rows: Rows) => void): Promise<void> {
    return new Promise((committed, refused) =>
      this.#needs.committer.add({ bytes: AT_ONCE * ROW_BYTES, durable, keys: () => keys, decide, committed, refused }),
    )
  }

  #failed(cause: unknown): void {
    if (!this.#needs.committer.closed) this.#needs.observer.listenerFailed?.(cause)
  }
}
