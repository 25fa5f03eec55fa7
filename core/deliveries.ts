/** Delivery marks: what sessions acknowledged, collected and written every second. A crash repeats a receipt, no more. */
import type { AppId, ConversationId, Member, Seq } from '../protocol/ids.ts'
import { type Marks, marksOf } from './marks.ts'
import type { Moved } from './news.ts'
import {
  type ConversationKey,
  type DeliveryMarks,
  keyOf,
  putRanked,
  type Records,
  type Scheduler,
  splitKey,
} from './ports.ts'
import { DELIVERED } from './tables.ts'

interface Needs {
  records: Pick<Records, 'getMany' | 'write'>
  scheduler: Pick<Scheduler, 'after'>
  tell: (key: ConversationKey, moves: readonly { member: Member; moved: Moved }[]) => Promise<void>
}
interface Position {
  key: ConversationKey
  member: Member
  upTo: number
}

const FLUSH_MS = 1_000
const FLUSHED_AT_ONCE = 2_000
/** Positions that wait for a flush; more of them are flushed at once. */
const MAX_WAITING = 100_000

export class Deliveries implements DeliveryMarks {
  readonly #needs: Needs
  #waiting = new Map<ConversationKey, Map<Member, number>>()
  #count = 0
  #cancel: (() => void) | undefined
  #flushing: Promise<void> = Promise.resolve()
  #closed = false

  constructor(needs: Needs) {
    this.#needs = needs
  }

  delivered(app: AppId, member: Member, conversation: ConversationId, upTo: Seq): void {
    const key = keyOf(app, conversation)
    const members = this.#waiting.get(key) ?? new Map<Member, number>()
    this.#waiting.set(key, members)
    const before = members.get(member)
    if (before === undefined) this.#count++
    if (before === undefined || before < upTo) members.set(member, upTo)
    if (this.#count >= MAX_WAITING) void this.flush()
    else this.#cancel ??= this.#closed ? undefined : this.#needs.scheduler.after(FLUSH_MS, () => void this.flush())
  }

  /** Writes what waits; what cannot be written now waits for the next time. */
  flush(): Promise<void> {
    this.#cancel?.()
    this.#cancel = undefined
    const waiting = this.#waiting
    this.#waiting = new Map()
    this.#count = 0
    const all = [...waiting].flatMap(([key, members]) => [...members].map(([member, upTo]) => ({ key, member, upTo })))
    this.#flushing = this.#flushing.then(async () => {
      for (let at = 0; at < all.length; at += FLUSHED_AT_ONCE)
        await this.#write(all.slice(at, at + FLUSHED_AT_ONCE)).catch(() =>
          this.#keep(all.slice(at, at + FLUSHED_AT_ONCE)),
        )
    })
    return this.#flushing
  }

  #keep(unwritten: readonly Position[]): void {
    if (this.#closed || this.#count >= MAX_WAITING / 2) return
    for (const { key, member, upTo } of unwritten) {
      const { app, conversation } = splitKey(key)
      this.delivered(app, member, conversation, upTo as Seq)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.flush()
  }

  async #write(all: readonly Position[]): Promise<void> {
    const { records } = this.#needs
    const marks = await marksOf(
      records,
      all.map(({ key, member }) => ({ partition: key, key: member })),
    )
    const moved = all.flatMap((one, i) => {
      const { deliveredUpTo: before } = marks[i] as Marks
      return one.upTo > before ? [{ ...one, before }] : []
    })
    if (moved.length === 0) return
    const rows = moved.map(({ key, member, upTo }) => putRanked(DELIVERED, key, member, { upTo }, upTo))
    await records.write(rows, { durable: false })
    this.#tell(moved)
  }

  #tell(moved: readonly (Position & { before: number })[]): void {
    const byKey = new Map<ConversationKey, { member: Member; moved: Moved }[]>()
    for (const { key, member, upTo, before } of moved) {
      const moves = byKey.get(key) ?? []
      moves.push({ member, moved: { deliveredUpTo: upTo, before } })
      byKey.set(key, moves)
    }
    for (const [key, moves] of byKey) void this.#needs.tell(key, moves)
  }
}
