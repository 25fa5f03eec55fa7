/**
 * Receipts, live: told to the senders of the messages that a member has newly got or read, and to the member's own
 * devices; at most one per member, conversation and second, in conversations of up to 200. They may be lost: the marks
 * themselves are kept.
 */
import type { LiveEvent } from '../protocol/events.ts'
import { kindOf, type Member, type Seq, type UserId } from '../protocol/ids.ts'
import { type Connections, type ConversationKey, type MessageLog, type Scheduler, splitKey } from './ports.ts'
import type { Members } from './roster.ts'

interface Needs {
  log: Pick<MessageLog, 'read'>
  members: Pick<Members, 'roster'>
  connections: Pick<Connections, 'tell'>
  scheduler: Pick<Scheduler, 'after'>
}

/** A mark that went up: what is covered now and was not before. */
export interface Moved {
  readUpTo?: number
  deliveredUpTo?: number
  /** Covered before. */
  before: number
}

const EVERY_MS = 1_000
const MAX_MEMBERS = 200
/** How far back senders are looked for. */
const MAX_BACK = 200
/** Members and conversations with a receipt in the last second. */
const MAX_RECENT = 100_000

export class News {
  readonly #needs: Needs
  /** What was told in the last second, and what has come since. */
  readonly #recent = new Map<string, { cancel: () => void; told: Moved; next?: Moved }>()

  constructor(needs: Needs) {
    this.#needs = needs
  }

  /** Tells of marks of one conversation that went up; never throws. */
  async tell(key: ConversationKey, moves: readonly { member: Member; moved: Moved }[]): Promise<void> {
    const due = moves.flatMap(({ member, moved }) => {
      const now = this.#paced(key, member, moved)
      return now ? [{ member, moved: now }] : []
    })
    // Live only: a receipt that cannot be told is in the marks.
    if (due.length > 0) await this.#send(key, due).catch(() => {})
  }

  /** What to tell at once; the rest waits until the second is over. */
  #paced(key: ConversationKey, member: Member, moved: Moved): Moved | undefined {
    // A device has marks, but its receipts interest nobody.
    if (member.startsWith('d:')) return undefined
    const of = `${key} ${member}`
    const last = this.#recent.get(of)
    if (last) {
      // What was written in turn may come out of it.
      const next = higher(moved, last.next ?? { ...last.told, before: moved.before })
      if (isAbove(next, last.told) || moved.before < last.told.before) last.next = next
      return undefined
    }
    if (this.#recent.size >= MAX_RECENT) return undefined
    const cancel = this.#needs.scheduler.after(EVERY_MS, () => {
      const { next } = this.#recent.get(of) ?? {}
      this.#recent.delete(of)
      if (next) void this.tell(key, [{ member, moved: next }])
    })
    this.#recent.set(of, { cancel, told: moved })
    return moved
  }

  async #send(key: ConversationKey, moves: readonly { member: Member; moved: Moved }[]): Promise<void> {
    const { app, conversation } = splitKey(key)
    const isIn = await this.#reachable(key)
    if (!isIn) return
    const tops = moves.map(({ moved }) => top(moved))
    const high = Math.max(...tops)
    const low = Math.max(Math.min(...moves.map(({ moved }) => moved.before)), high - MAX_BACK)
    // One read serves all who moved together.
    const entries =
      low < high
        ? await this.#needs.log.read(key, { after: low as Seq, before: (high + 1) as Seq, limit: MAX_BACK })
        : []
    moves.forEach(({ member, moved: { before, ...marks } }, i) => {
      const covered = entries.filter(
        ({ kind, seq }) => kind === 'message' && seq > before && seq <= (tops[i] as number),
      )
      const event = { kind: 'receipt', conversation, user: member, ...marks } as LiveEvent
      for (const user of new Set<string>([member, ...covered.map(({ from }) => from)]))
        if (isIn(user as Member)) this.#needs.connections.tell(app, user as UserId, event)
    })
  }

  /** Who is in, where receipts are told live at all; devices and the server itself are not told. */
  async #reachable(key: ConversationKey): Promise<((member: Member) => boolean) | undefined> {
    const { conversation } = splitKey(key)
    const kind = kindOf(conversation)
    if (kind === 'user') return () => true
    if (kind === 'notice') return member => conversation === `n:${member}`
    const roster = await this.#needs.members.roster(key)
    return roster.size <= MAX_MEMBERS ? member => roster.has(member) && !member.startsWith('d:') : undefined
  }

  close(): void {
    for (const { cancel } of this.#recent.values()) cancel()
    this.#recent.clear()
  }
}

const isAbove = (one: Moved, other: Moved) =>
  (one.readUpTo ?? 0) > (other.readUpTo ?? 0) || (one.deliveredUpTo ?? 0) > (other.deliveredUpTo ?? 0)

/** Each mark of the two, where it is highest. */
function higher(one: Moved, other: Moved): Moved {
  const readUpTo = Math.max(one.readUpTo ?? 0, other.readUpTo ?? 0)
  const deliveredUpTo = Math.max(one.deliveredUpTo ?? 0, other.deliveredUpTo ?? 0)
  const before = Math.min(one.before, other.before)
  return { before, ...(readUpTo > 0 && { readUpTo }), ...(deliveredUpTo > 0 && { deliveredUpTo }) }
}

const top = ({ readUpTo = 0, deliveredUpTo = 0 }: Moved) => Math.max(readUpTo, deliveredUpTo)
