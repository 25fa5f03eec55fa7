/** Delivery marks: what sessions acknowledged, collected and written every second. A crash repeats a receipt, no more. */
import type { AppId, ConversationId, Member, Seq } from '../protocol/ids.ts'
import { type Marks, marksOf } from './marks.ts'
import type { Moved } from './news.ts'
import { type ConversationKey, type DeliveryMarks, keyOf, putRanked, type Records, type Scheduler } from './ports.ts'
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
  /** The mark before it was first tried to write it; unknown until then. */
  before?: number | undefined
}

type Known = Position & { before: number }

const FLUSH_MS = 1_000
const FLUSHED_AT_ONCE = 2_000
/** Positions that wait for a flush. Of more none is kept: the next acknowledgement brings the mark. */
const MAX_WAITING = 100_000

export class Deliveries implements DeliveryMarks {
  readonly #needs: Needs
  #waiting = new Map<ConversationKey, Map<Member, Position>>()
  #count = 0
  #cancel: (() => void) | undefined
  #flushing: Promise<void> = Promise.resolve()
  /** A flush that waits for the one before. */
  #next: Promise<void> | undefined
  #closed = false

  constructor(needs: Needs) {
    this.#needs = needs
  }

  delivered(app: AppId, member: Member, conversation: ConversationId, upTo: Seq): void {
    this.#add({ key: keyOf(app, conversation), member, upTo })
  }

  #add(position: Position): void {
    const { key, member, upTo, before } = position
    const members = this.#waiting.get(key) ?? new Map<Member, Position>()
    const there = members.get(member)
    if (!there && this.#count >= MAX_WAITING) return
    if (!there) this.#count++
    const highest = there && { ...there, upTo: Math.max(there.upTo, upTo), before: before ?? there.before }
    members.set(member, highest ?? position)
    this.#waiting.set(key, members)
    this.#cancel ??= this.#closed ? undefined : this.#needs.scheduler.after(FLUSH_MS, () => void this.flush())
  }

  /** Writes what waits, behind what is being written; what cannot be written now waits for the next time. */
  flush(): Promise<void> {
    this.#cancel?.()
    this.#cancel = undefined
    this.#next ??= this.#flushing.then(() => this.#writeAll())
    this.#flushing = this.#next
    return this.#next
  }

  async #writeAll(): Promise<void> {
    this.#next = undefined
    const all = [...this.#waiting.values()].flatMap(members => [...members.values()])
    this.#waiting = new Map()
    this.#count = 0
    for (let at = 0; at < all.length; at += FLUSHED_AT_ONCE) await this.#write(all.slice(at, at + FLUSHED_AT_ONCE))
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.flush()
  }

  /** Those that go up, and tells of them. Where some cannot be written all of them wait: which were written is unknown. */
  async #write(all: readonly Position[]): Promise<void> {
    let unwritten = all
    try {
      const moved = await this.#moved(all)
      unwritten = moved
      const rows = moved.map(({ key, member, upTo }) => putRanked(DELIVERED, key, member, { upTo }, upTo))
      await this.#needs.records.write(rows, { durable: false })
      this.#tell(moved)
    } catch {
      if (!this.#closed && this.#count < MAX_WAITING / 2) for (const position of unwritten) this.#add(position)
    }
  }

  async #moved(all: readonly Position[]): Promise<Known[]> {
    const of = all.map(({ key, member }) => ({ partition: key, key: member }))
    const marks = await marksOf(this.#needs.records, of)
    return all.flatMap((one, i) => {
      const { deliveredUpTo } = marks[i] as Marks
      const before = one.before ?? deliveredUpTo
      return one.upTo > before ? [{ ...one, before }] : []
    })
  }

  #tell(moved: readonly Known[]): void {
    const byKey = new Map<ConversationKey, { member: Member; moved: Moved }[]>()
    for (const { key, member, upTo, before } of moved) {
      const moves = byKey.get(key) ?? []
      moves.push({ member, moved: { deliveredUpTo: upTo, before } })
      byKey.set(key, moves)
    }
    for (const [key, moves] of byKey) void this.#needs.tell(key, moves)
  }
}
