/**
 * Retention: entries older than the setting are removed from every conversation. A row for each says how old its oldest
 * entry is, so that only those are looked at that have something to remove.
 */
import type { AppId, ConversationId, EpochMs } from '../protocol/ids.ts'
import { Due } from './due.ts'
import {
  type ConversationKey,
  type Found,
  keyOf,
  type MessageLog,
  putRanked,
  type Records,
  type Scheduler,
  sortable,
  splitKey,
  table,
} from './ports.ts'

interface Needs {
  log: Pick<MessageLog, 'trim' | 'tails' | 'get' | 'seqAt'>
  records: Pick<Records, 'scan' | 'write'>
  scheduler: Pick<Scheduler, 'now' | 'after'>
  /** 0: nothing is ever removed. */
  retentionMs: number
}

/** How old a conversation is. Ranked by that, for it only grows younger. Partition: app; key: conversation. */
interface AgeRow {
  /** Nothing in it was sent before. */
  since: EpochMs
}
const ALL = 'all'
export const AGES = table<AgeRow>(
  'ages',
  { byAge: row => ({ partition: ALL, sort: sortable(row.since) }) },
  { ranked: true, spread: true },
)

const EVERY_MS = 60_000
/** Where more is due than is done at once. */
const MORE_MS = 200
const AT_ONCE = 50
/** So much late, a busy conversation is looked at once in that time. */
const LATE_MS = 3_600_000
/** An entry that stays though it is old, as the last of a conversation does, is looked at again after this share of the time. */
const AGAIN = 0.1

/** Writes down with the first entry of a conversation how old it is; also while nothing is removed, as a setting changes. */
export function dated(log: MessageLog): MessageLog {
  return {
    append(key, draft, options) {
      const changes: NonNullable<typeof options>['changes'] = at => {
        const own = options?.changes?.(at) ?? []
        if (at.seq > 1) return own
        const { app, conversation } = splitKey(key)
        return [...own, putRanked(AGES, app, conversation, { since: at.sentAt }, at.sentAt)]
      }
      return log.append(key, draft, { ...options, changes })
    },
    read: (...asked) => log.read(...asked),
    get: wanted => log.get(wanted),
    tails: keys => log.tails(keys),
    seqAt: (...asked) => log.seqAt(...asked),
    trim: (...asked) => log.trim(...asked),
    follow: (...asked) => log.follow(...asked),
    watch: key => log.watch(key),
  }
}

export class Retention {
  readonly #needs: Needs
  readonly #old: Due<AgeRow>
  #cancel: (() => void) | undefined
  #working: Promise<void> = Promise.resolve()
  #closed = false

  constructor(needs: Needs) {
    this.#needs = needs
    const { records, scheduler, retentionMs } = needs
    this.#old = new Due(
      AGES,
      'byAge',
      { records, scheduler: { now: () => scheduler.now() - retentionMs - LATE_MS } },
      ALL,
    )
    if (needs.retentionMs > 0) this.#later(EVERY_MS)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    await this.#working
  }

  #later(ms: number): void {
    if (this.#closed) return
    this.#cancel = this.#needs.scheduler.after(ms, () => {
      this.#working = this.#sweep().then(
        more => this.#later(more ? MORE_MS : EVERY_MS),
        // What cannot be removed now is still there at the next look.
        () => this.#later(EVERY_MS),
      )
    })
  }

  /** Whether more may be due. */
  async #sweep(): Promise<boolean> {
    const { scheduler, retentionMs } = this.#needs
    const before = scheduler.now() - retentionMs
    const due = await this.#old.first(AT_ONCE)
    for (const found of due) if (!this.#closed) await this.#remove(found, before)
    return due.length === AT_ONCE
  }

  async #remove({ partition, key }: Found<AgeRow>, before: EpochMs): Promise<void> {
    const { records, retentionMs } = this.#needs
    const conversation = keyOf(partition as AppId, key as ConversationId)
    // A conversation that cannot be read must not keep the others from it.
    const oldest = await this.#trim(conversation, before).catch(() => 0)
    const since = oldest < before ? before + retentionMs * AGAIN : oldest
    await records.write([putRanked(AGES, partition, key, { since }, since)], { durable: false })
  }

  /** When the oldest entry that is left was sent. */
  async #trim(conversation: ConversationKey, before: EpochMs): Promise<EpochMs> {
    const { log } = this.#needs
    await log.trim(conversation, await log.seqAt(conversation, before))
    const [tail] = await log.tails([conversation])
    const [entry] = tail ? await log.get([{ conversation, seq: tail.first }]) : []
    return entry?.sentAt ?? 0
  }
}
