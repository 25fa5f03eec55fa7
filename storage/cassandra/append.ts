/** One append that waits for its place: what is known of it before, and who is told in the end. */
import { StoredEntry } from '../../core/entry.ts'
import type { AppendOptions, Change, ConversationKey, EntryDraft, Tail } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { Seq } from '../../protocol/ids.ts'
import { type Fingerprint, fingerprintOf, restOf, says, startOf } from '../entry-json.ts'
import { part } from '../shape.ts'
import { repeatName } from './entries.ts'
import { mustBeGood } from './records.ts'

export class Append {
  readonly draft: EntryDraft
  readonly retracts: Seq | undefined
  readonly bytes: number
  /** What finds a repeat of it; absent where it has no clientMessageId. */
  readonly name: string | undefined
  readonly fingerprint: Fingerprint | undefined
  readonly judge: AppendOptions['judge']
  /** It was resolved or rejected. */
  isOver = false
  /** It is in the log: only what belongs to it is left to do before it is resolved. */
  isStored = false
  /** A batch with it was given up, and may still be on its way: whatever refuses it now, it may be stored. */
  mayCome = false
  readonly #resolve: (entry: StoredEntry) => void
  readonly #reject: (cause: unknown) => void
  readonly #changes: AppendOptions['changes']
  readonly #rest: Buffer

  constructor(
    draft: EntryDraft,
    { changes, retracts, judge }: AppendOptions,
    resolve: (entry: StoredEntry) => void,
    reject: (cause: unknown) => void,
  ) {
    this.draft = draft
    this.retracts = retracts
    this.judge = judge
    this.#resolve = resolve
    this.#reject = reject
    this.#changes = changes
    this.#rest = restOf(draft.body)
    this.bytes = this.#rest.length
    const { clientMessageId } = draft.body
    if (typeof clientMessageId !== 'string') return
    this.name = repeatName(draft.from, part(clientMessageId))
    this.fingerprint = fingerprintOf(draft, this.#rest)
  }

  readonly resolve = (entry: StoredEntry): void => {
    this.isOver = true
    this.#resolve(entry)
  }
  readonly reject = (cause: unknown): void => {
    this.isOver = true
    this.#reject(this.mayCome ? new Fault('log-unavailable', {}, { cause }) : Fault.from(cause))
  }
  /** Another of the same batch is the one that is stored. */
  resolveAs(stored: StoredEntry): void {
    if (says(stored, this.draft)) this.resolve(stored.again())
    else this.reject(new Fault('client-message-id-reused', { seq: stored.seq }))
  }

  /** The entry behind a tail, and the record changes that go with it. @throws what `changes` throws */
  at(conversation: ConversationKey, tail: Tail, now: number, ulid: (time: number) => string): Placed {
    const { kind, from } = this.draft
    const seq = (tail.seq + 1) as Seq
    const n = kind === 'message' ? tail.n + 1 : tail.n
    const sentAt = Math.max(now, tail.sentAt)
    const changes = this.#changes?.({ seq, n, sentAt }) ?? []
    mustBeGood(changes)
    const facts = { seq, n, kind, from, sentAt }
    const start = startOf(conversation, facts, ulid(sentAt))
    const entry = new StoredEntry(facts, Buffer.concat([Buffer.from(start), this.#rest]))
    return {
      append: this,
      entry,
      tail: { seq, n, sentAt, first: tail.first },
      ranked: changes.filter(({ rank }) => rank !== undefined),
      versioned: changes.filter(({ rank }) => rank === undefined),
    }
  }
}

/** An append in its place. */
export interface Placed {
  append: Append
  entry: StoredEntry
  /** The end of the conversation with it. */
  tail: Tail
  ranked: Change[]
  versioned: Change[]
}

/** Those that may still be stored; the others are told that they may not. */
export async function judged(waiting: readonly Append[]): Promise<Append[]> {
  const may = await Promise.all(
    waiting.map(async append => {
      try {
        await append.judge?.()
        return true
      } catch (cause) {
        append.reject(cause)
        return false
      }
    }),
  )
  return waiting.filter((_, nth) => may[nth])
}
