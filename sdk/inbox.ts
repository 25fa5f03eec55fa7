/**
 * Entries as they arrive become entries in order, exactly once per conversation: what was handled before is dropped, what
 * came too early waits until history has filled the hole before it. An entry is done when the app's listeners are, and its
 * position is written; only then may it be acknowledged, so a crash repeats and never loses.
 */
import type { ConversationId, EpochMs, Seq } from '../protocol/ids.ts'
import type { Entry, Gap } from '../protocol/messages.ts'
import { Refusal } from './refusal.ts'
import type { Store } from './store.ts'

/** A range that this client will never get. `unexplained`: history has a hole there. */
export type GapEvent = Omit<Gap, 'reason'> & { reason: Gap['reason'] | 'unexplained' }

export interface InboxNeeds {
  store: Store
  entry: (entry: Entry) => Promise<void> | undefined
  gap: (gap: GapEvent) => Promise<void> | undefined
  /** History after a position, ascending; empty where there is nothing below `before`. @throws Refusal */
  read: (range: { conversation: ConversationId; after: number; before: number }) => Promise<(Entry | Gap)[]>
  /** Resolves when another attempt makes sense, `attempt` counting from 0. */
  pause: (attempt: number) => Promise<void>
  failed: (thrown: unknown) => void
}

interface Arrival {
  /** What arrived; without it, only the hole before `before` is to be filled. */
  item?: Entry | Gap
  before: number
  done: () => void
}
interface Lane {
  /** Highest position that was handled; 0 is before the first, absent where nothing ever came. */
  position?: number
  /** The server's clock at that position. */
  sentAt: EpochMs
  waiting: Arrival[]
  running: boolean
}

const ROW = 'position/'

export class Inbox {
  readonly #needs: InboxNeeds
  readonly #lanes = new Map<ConversationId, Lane>()
  #running = 0
  #held = false
  #closed = false

  constructor(needs: InboxNeeds) {
    this.#needs = needs
  }

  load(rows: Iterable<readonly [string, string]>): void {
    for (const [key, value] of rows) {
      if (!key.startsWith(ROW)) continue
      const [position, sentAt] = value.split(' ').map(Number)
      Object.assign(this.#lane(key.slice(ROW.length) as ConversationId), { position, sentAt: sentAt ?? 0 })
    }
  }

  /** Where a conversation was handled up to. */
  position(conversation: ConversationId): number | undefined {
    return this.#lanes.get(conversation)?.position
  }

  /** When the newest of the handled entries was sent, by the server's clock; 0 if there is none. */
  get newestAt(): EpochMs {
    let newest = 0
    for (const { sentAt } of this.#lanes.values()) newest = Math.max(newest, sentAt)
    return newest
  }

  /** An entry or gap from the connection. `done` is called once, when it may be acknowledged. */
  take(item: Entry | Gap, done: () => void): void {
    const before = item.kind === 'gap' ? item.from : item.seq
    this.#enter(item.conversation, { item, before, done })
  }

  /** Entries up to `upTo` are missing; `from`: the position before them where none is known. */
  missing(conversation: ConversationId, from: number, upTo: number): void {
    const lane = this.#lane(conversation)
    lane.position ??= from
    lane.waiting.splice(lane.running ? 1 : 0, 0, { before: upTo + 1, done: () => undefined })
  }

  /** Collects what arrives until `release`: what was missed must come before it. */
  hold(): void {
    this.#held = true
  }

  /** Whether listeners are at work, so that what arrives has to wait. */
  get busy(): boolean {
    return this.#running > 0
  }

  get held(): boolean {
    return this.#held
  }

  release(): void {
    this.#held = false
    for (const [conversation, lane] of this.#lanes) void this.#drain(conversation, lane)
  }

  /** The connection is gone: what was not begun will be sent again on the next. */
  disconnected(): void {
    for (const lane of this.#lanes.values()) {
      const keep = (arrival: Arrival, i: number) => (lane.running && i === 0) || !arrival.item
      lane.waiting = lane.waiting.filter(keep)
    }
  }

  close(): void {
    this.#closed = true
    this.disconnected()
  }

  #lane(conversation: ConversationId): Lane {
    const known = this.#lanes.get(conversation)
    if (known) return known
    const lane: Lane = { sentAt: 0, waiting: [], running: false }
    this.#lanes.set(conversation, lane)
    return lane
  }

  #enter(conversation: ConversationId, arrival: Arrival): void {
    const lane = this.#lane(conversation)
    lane.waiting.push(arrival)
    void this.#drain(conversation, lane)
  }

  /** Runs without a pause as long as no listener and no store asks for one. */
  async #drain(conversation: ConversationId, lane: Lane): Promise<void> {
    if (lane.running) return
    lane.running = true
    this.#running += 1
    for (;;) {
      const arrival = this.#held || this.#closed ? undefined : lane.waiting[0]
      if (!arrival) break
      try {
        const pending = this.#handle(conversation, lane, arrival)
        if (pending) await pending
      } catch (thrown) {
        this.#needs.failed(thrown)
      }
      lane.waiting.shift()
      if (!this.#closed) arrival.done()
    }
    this.#running -= 1
    lane.running = false
  }

  #handle(conversation: ConversationId, lane: Lane, { item, before }: Arrival): Promise<void> | undefined {
    const hole = lane.position !== undefined && before > lane.position + 1
    if (hole) return this.#fill(conversation, lane, before).then(() => item && this.#pass(conversation, lane, item))
    return item && this.#pass(conversation, lane, item)
  }

  /** Hands one on that is next in order, unless it was handled before. */
  #pass(conversation: ConversationId, lane: Lane, item: Entry | Gap | GapEvent): Promise<void> | undefined {
    const upTo = item.kind === 'gap' ? item.to : item.seq
    if (lane.position !== undefined && upTo <= lane.position) return undefined
    const handled = item.kind === 'gap' ? this.#needs.gap(item as GapEvent) : this.#needs.entry(item as Entry)
    const advance = () =>
      this.#advance(conversation, lane, upTo, 'sentAt' in item ? (item.sentAt as EpochMs) : lane.sentAt)
    return handled ? handled.then(advance) : advance()
  }

  #advance(conversation: ConversationId, lane: Lane, position: number, sentAt: EpochMs): Promise<void> | undefined {
    lane.position = position
    lane.sentAt = sentAt
    const written = this.#needs.store.set(ROW + conversation, `${position} ${sentAt}`)
    return written instanceof Promise ? written : undefined
  }

  /** Reads from history what lies below `before`, and goes on trying: an entry behind a hole is never handed on first. */
  async #fill(conversation: ConversationId, lane: Lane, before: number): Promise<void> {
    for (let attempt = 0; !this.#closed; ) {
      const after = lane.position ?? 0
      if (after >= before - 1) return
      try {
        const page = await this.#needs.read({ conversation, after, before })
        for (const item of page) await this.#pass(conversation, lane, item)
        attempt = 0
        if (page.length === 0) return await this.#giveUp(conversation, lane, before, 'unexplained')
      } catch (thrown) {
        if (thrown instanceof Refusal && thrown.final)
          return this.#giveUp(
            conversation,
            lane,
            before,
            thrown.code === 'not-a-member' ? 'not-a-member' : 'unexplained',
          )
        await this.#needs.pause(attempt++)
      }
    }
  }

  async #giveUp(conversation: ConversationId, lane: Lane, before: number, reason: GapEvent['reason']): Promise<void> {
    const [from, to] = [(lane.position ?? 0) + 1, before - 1] as [Seq, Seq]
    if (from <= to) await this.#pass(conversation, lane, { kind: 'gap', conversation, from, to, reason })
  }
}
