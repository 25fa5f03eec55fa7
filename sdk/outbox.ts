/**
 * What waits to be sent, in the order it was given. A message leaves the outbox when the server acknowledged or refused it
 * for good, never because time passed. After a lost connection everything unacknowledged goes out again, in order and with
 * the same clientMessageId, so that the server stores it once.
 */
import type { ConversationId } from '../protocol/ids.ts'
import { type DraftInput, type Entry, MAX_DRAFT_BYTES } from '../protocol/messages.ts'
import { Refusal } from './refusal.ts'
import type { Store } from './store.ts'

export type Sent = DraftInput & { clientMessageId: string }

export interface OutboxNeeds {
  store: Store
  /** Messages that may wait. */
  limit: number
  topicOf: (conversation: ConversationId) => string | undefined
  /** The entry that was stored for a draft; asked when the acknowledgement came and the sender's own copy did not. */
  confirm: (conversation: ConversationId, draft: Sent) => Promise<Entry>
  /** How long the own copy may take after the acknowledgement. */
  confirmAfterMs: () => number
  after: (ms: number, run: () => void) => () => void
  sent: (entry: Entry) => void
  refused: (refusal: Refusal, conversation: ConversationId, draft: Sent) => void
  failed: (thrown: unknown) => void
}

/** Hands a payload to the connection; calls back when it was acknowledged, with the refusal if there was one. */
export type Publish = (topic: string, payload: string, settled: (refusal?: Refusal) => void) => void

interface Item {
  row: string
  conversation: ConversationId
  draft: Sent
  payload: string
  topic: string
  state: 'waiting' | 'in-flight' | 'acknowledged'
  outcome: Promise<Entry>
  resolve: (entry: Entry) => void
  reject: (refusal: Refusal) => void
}

const ROW = 'outbox/'
/** All payloads together, in characters. */
const MAX_CHARACTERS = 16 * 1024 * 1024

export class Outbox {
  readonly #needs: OutboxNeeds
  /** By conversation and clientMessageId, in the order of sending. */
  readonly #items = new Map<string, Item>()
  readonly #timers = new Set<() => void>()
  #characters = 0
  #lastRow = 0
  #publish: Publish | undefined
  #window = 0
  #inFlight = 0

  constructor(needs: OutboxNeeds) {
    this.#needs = needs
  }

  get size(): number {
    return this.#items.size
  }

  /** Takes up what an earlier client left. */
  load(rows: Iterable<readonly [string, string]>): void {
    const mine = [...rows].filter(([key]) => key.startsWith(ROW)).sort(([a], [b]) => (a < b ? -1 : 1))
    for (const [row, value] of mine) {
      const { conversation, draft } = JSON.parse(value) as { conversation: ConversationId; draft: Sent }
      this.#lastRow = Math.max(this.#lastRow, Number(row.slice(ROW.length)))
      const topic = this.#needs.topicOf(conversation)
      if (topic) this.#put(row, topic, conversation, draft)
    }
  }

  /** @throws Refusal `outbox-full` · `too-large` · `no-such-topic` · `client-message-id-reused` */
  add(conversation: ConversationId, draft: Sent): Promise<Entry> {
    const topic = this.#needs.topicOf(conversation)
    if (!topic) throw new Refusal('no-such-topic')
    const known = this.#items.get(nameOf(conversation, draft.clientMessageId))
    const payload = JSON.stringify(draft)
    if (known && known.payload !== payload) throw new Refusal('client-message-id-reused')
    if (known) return known.outcome
    // Past the packet limit the server would end the connection, again at every attempt.
    if (tooLarge(payload)) throw new Refusal('too-large')
    if (this.#items.size >= this.#needs.limit || this.#characters + payload.length > MAX_CHARACTERS)
      throw new Refusal('outbox-full')

    this.#lastRow += 1
    const row = ROW + String(this.#lastRow).padStart(12, '0')
    const item = this.#put(row, topic, conversation, draft)
    this.#write(() => this.#needs.store.set(row, JSON.stringify({ conversation, draft })))
    this.#pump()
    return item.outcome
  }

  /** A connection is there; `window` messages may be unacknowledged on it. */
  connected(publish: Publish, window: number): void {
    this.#publish = publish
    this.#window = window
    this.#inFlight = 0
    for (const item of this.#items.values()) if (item.state === 'in-flight') item.state = 'waiting'
    this.#pump()
  }

  disconnected(): void {
    this.#publish = undefined
  }

  /** The sender's own copy of an entry: it was accepted, whether or not the acknowledgement came through. */
  stored(entry: Entry): void {
    const item = entry.clientMessageId && this.#items.get(nameOf(entry.conversation, entry.clientMessageId))
    if (!item) return
    this.#take(item)
    item.resolve(entry)
    this.#needs.sent(entry)
  }

  /** A refusal that came as an event. */
  refusedByEvent(topic: string, clientMessageId: string, refusal: Refusal): void {
    for (const item of this.#items.values())
      if (item.topic === topic && item.draft.clientMessageId === clientMessageId) this.#refuse(item, refusal)
  }

  /** Nothing more will be sent by this client; what a kept store holds goes out with the next. */
  close(): void {
    this.disconnected()
    for (const cancel of this.#timers) cancel()
    this.#timers.clear()
    for (const item of this.#items.values()) item.reject(new Refusal('closed'))
    this.#items.clear()
  }

  #put(row: string, topic: string, conversation: ConversationId, draft: Sent): Item {
    const settle: Partial<Item> = {}
    const outcome = new Promise<Entry>((resolve, reject) => Object.assign(settle, { resolve, reject }))
    // The events tell the outcome too, so nobody has to hold the promise.
    outcome.catch(() => undefined)
    const payload = JSON.stringify(draft)
    const item = { row, topic, conversation, draft, payload, state: 'waiting', outcome, ...settle } as Item
    this.#items.set(nameOf(conversation, draft.clientMessageId), item)
    this.#characters += payload.length
    return item
  }

  #pump(): void {
    for (const item of this.#items.values()) {
      if (!this.#publish || this.#inFlight >= this.#window) return
      if (item.state === 'waiting') this.#send(item, this.#publish)
    }
  }

  #send(item: Item, publish: Publish): void {
    item.state = 'in-flight'
    this.#inFlight += 1
    publish(item.topic, item.payload, refusal => {
      // An answer on a connection that is gone says nothing about the message on the present one.
      if (this.#publish !== publish) return
      this.#inFlight -= 1
      if (refusal) this.#refuse(item, refusal)
      else this.#acknowledged(item)
      this.#pump()
    })
  }

  #acknowledged(item: Item): void {
    if (!this.#has(item)) return
    item.state = 'acknowledged'
    this.#write(() => this.#needs.store.delete(item.row))
    this.#confirmLater(item)
  }

  #confirmLater(item: Item): void {
    const cancel = this.#needs.after(this.#needs.confirmAfterMs(), () => {
      this.#timers.delete(cancel)
      if (this.#has(item)) void this.#confirm(item)
    })
    this.#timers.add(cancel)
  }

  async #confirm(item: Item): Promise<void> {
    try {
      this.stored(await this.#needs.confirm(item.conversation, item.draft))
    } catch (thrown) {
      if (!this.#has(item)) return
      if (thrown instanceof Refusal && thrown.final) this.#refuse(item, thrown)
      else this.#confirmLater(item)
    }
  }

  #refuse(item: Item, refusal: Refusal): void {
    if (!this.#has(item)) return
    this.#take(item)
    item.reject(refusal)
    this.#needs.refused(refusal, item.conversation, item.draft)
  }

  #take(item: Item): void {
    this.#items.delete(nameOf(item.conversation, item.draft.clientMessageId))
    this.#characters -= item.payload.length
    if (item.state !== 'acknowledged') this.#write(() => this.#needs.store.delete(item.row))
  }

  #has(item: Item): boolean {
    return this.#items.get(nameOf(item.conversation, item.draft.clientMessageId)) === item
  }

  #write(write: () => unknown): void {
    try {
      Promise.resolve(write()).catch(this.#needs.failed)
    } catch (thrown) {
      this.#needs.failed(thrown)
    }
  }
}

const nameOf = (conversation: string, clientMessageId: string) => `${conversation} ${clientMessageId}`
const tooLarge = (payload: string) =>
  payload.length * 3 > MAX_DRAFT_BYTES && new TextEncoder().encode(payload).length > MAX_DRAFT_BYTES
