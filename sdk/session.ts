/** One account on this device: its connection, what waits to be sent, and what arrives. */
import type { LiveEvent, ReplyEvent } from '../protocol/events.ts'
import { type ConversationId, partsOf } from '../protocol/ids.ts'
import type { Entry, Gap } from '../protocol/messages.ts'
import { matchTopic, type TopicName, topic } from '../protocol/topics.ts'
import type { Account } from './account.ts'
import { Calls } from './calls.ts'
import { catchUp } from './catch-up.ts'
import { backoff, Connection } from './connection.ts'
import type { Emitter } from './emitter.ts'
import type { ClientEvents } from './events.ts'
import { Inbox } from './inbox.ts'
import type { Link, LinkOptions } from './link.ts'
import { Outbox, type Sent } from './outbox.ts'
import { Refusal } from './refusal.ts'
import { type Store, storeOf } from './store.ts'

export interface SessionNeeds {
  account: Account
  events: Emitter<ClientEvents>
  store: Store
  link: Omit<LinkOptions, 'username' | 'password' | 'clientId'>
  /** Without one, the store's, or a new one. */
  clientId: string | undefined
  outboxLimit: number
  confirmAfterMs: number
  timeoutMs: number
  failed: (thrown: unknown) => void
}

const PAGE = 200
/** Many times what an own copy takes that nothing is in the way of. */
const BUSY_MS = 20
const NAME = 'clientId'
const decoder = new TextDecoder()

/** Opens the account's part of the store. Connects to nothing yet. */
export async function openSession(needs: SessionNeeds): Promise<Session> {
  const { app, user } = needs.account.identity
  const store = storeOf(needs.store, `${app}/${user}`)
  const rows = [...(await store.load())]
  const clientId = needs.clientId ?? rows.find(([key]) => key === NAME)?.[1] ?? randomId()
  await store.set(NAME, clientId)
  return new Session({ ...needs, store, clientId }, { app, user }, rows)
}

export class Session {
  readonly app: string
  readonly user: string
  readonly clientId: string
  readonly outbox: Outbox
  readonly inbox: Inbox
  readonly calls: Calls
  readonly connection: Connection
  readonly #needs: SessionNeeds
  #closed = false
  #catchingUp = false

  constructor(
    needs: SessionNeeds & { clientId: string },
    who: { app: string; user: string },
    rows: (readonly [string, string])[],
  ) {
    this.#needs = needs
    this.app = who.app
    this.user = who.user
    this.clientId = needs.clientId
    this.calls = new Calls(needs.timeoutMs)
    this.outbox = this.#makeOutbox()
    this.inbox = this.#makeInbox()
    this.connection = this.#makeConnection()
    this.inbox.load(rows)
    this.outbox.load(rows)
  }

  send(conversation: ConversationId, draft: Sent): Promise<Entry> {
    try {
      return this.outbox.add(conversation, draft)
    } catch (thrown) {
      if (thrown instanceof Refusal) this.#needs.events.emit('refused', { refusal: thrown, conversation, draft })
      throw thrown
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.connection.stop()
    this.inbox.close()
    this.outbox.close()
    this.calls.disconnected()
  }

  #makeOutbox(): Outbox {
    const { account, events, store, outboxLimit, confirmAfterMs, failed } = this.#needs
    return new Outbox({
      store,
      limit: outboxLimit,
      // With listeners at work the own copy may be waiting behind them, and one of them for this very outcome.
      confirmAfterMs: () => (this.inbox.busy ? Math.min(BUSY_MS, confirmAfterMs) : confirmAfterMs),
      topicOf: conversation => this.#topicOf(conversation),
      // The same clientMessageId again: the server stores nothing, and answers with what it stored.
      confirm: (conversation, draft) => account.call('sendMessage', { conversation, ...draft }) as Promise<Entry>,
      after: (ms, run) => {
        const timer = setTimeout(run, ms)
        return () => clearTimeout(timer)
      },
      sent: entry => void events.emit('sent', entry),
      refused: (refusal, conversation, draft) => void events.emit('refused', { refusal, conversation, draft }),
      failed,
    })
  }

  #makeInbox(): Inbox {
    const { account, events, store, failed } = this.#needs
    return new Inbox({
      store,
      entry: entry => {
        const pending = events.emit('entry', entry)
        if (entry.kind !== 'message') return pending
        const more = events.emit('message', entry as ClientEvents['message'])
        return pending && more ? pending.then(() => more) : (pending ?? more)
      },
      gap: gap => events.emit('gap', gap),
      read: async range => (await account.call('listMessages', { ...range, limit: PAGE })).items as (Entry | Gap)[],
      pause: attempt => new Promise(resolve => setTimeout(resolve, backoff(attempt, Math.random()))),
      failed,
    })
  }

  #makeConnection(): Connection {
    const { account, events, link } = this.#needs
    const filters = {
      [this.#own('inbox')]: { qos: 1 },
      [this.#own('userReply')]: { qos: 1 },
      [this.#own('live')]: { qos: 0 },
    } as const
    return new Connection({
      options: { ...link, clientId: this.clientId },
      filters,
      random: Math.random,
      credentials: async renew => {
        if (renew) await account.renew()
        return { username: `${this.app}/${this.user}`, password: await account.secret() }
      },
      received: (name, payload, acknowledge) => this.#received(name, payload, acknowledge),
      opened: ({ sessionPresent }) => {
        // The server remembers nothing of this client, so what came meanwhile is fetched before anything newer is shown.
        if (!sessionPresent && this.inbox.newestAt > 0) this.inbox.hold()
      },
      up: opened => this.#up(opened),
      down: (refusal, again) => {
        this.outbox.disconnected()
        this.inbox.disconnected()
        this.calls.disconnected()
        events.emit('disconnected', { refusal, again })
      },
    })
  }

  #up(link: Link): void {
    const publish: Link['publish'] = (name, payload, settled) =>
      link.publish(name, payload, refusal => {
        this.connection.progress()
        settled(refusal)
      })
    this.outbox.connected(publish, link.window)
    this.#needs.events.emit('connected', { sessionPresent: link.sessionPresent })
    if (this.inbox.held && !this.#catchingUp) void this.#catchUp()
  }

  async #catchUp(): Promise<void> {
    this.#catchingUp = true
    for (let attempt = 0; !this.#closed; attempt++) {
      try {
        await catchUp(this.#needs.account, this.inbox)
        break
      } catch (thrown) {
        if (!(thrown instanceof Refusal)) this.#needs.failed(thrown)
        if (thrown instanceof Refusal && thrown.final) break
        await new Promise(resolve => setTimeout(resolve, backoff(attempt, Math.random())))
      }
    }
    this.#catchingUp = false
    this.inbox.release()
  }

  #received(name: string, payload: Uint8Array, acknowledge: () => void): void {
    const row = matchTopic(name)?.row
    const event = parsed(payload)
    if (row === 'inbox' && event) {
      this.#arrived(event as Entry | Gap, acknowledge)
      return
    }
    if (row === 'userReply' && event) this.#replied(event as ReplyEvent)
    if (row === 'live' && event) this.#happened(event as LiveEvent)
    acknowledge()
  }

  #arrived(item: Entry | Gap, acknowledge: () => void): void {
    // Looked at on arrival, not in its turn: a listener may be waiting for the outcome of a message that it sends.
    if (item.kind !== 'gap' && item.from === this.user) this.outbox.stored(item)
    this.inbox.take(item, () => {
      this.connection.progress()
      acknowledge()
    })
  }

  #replied(event: ReplyEvent): void {
    if (event.kind === 'reply') this.calls.answered(event)
    else if (event.kind === 'refused' && event.clientMessageId)
      this.outbox.refusedByEvent(event.topic, event.clientMessageId, new Refusal(event.code, { says: event.says }))
  }

  #happened(event: LiveEvent): void {
    const { events } = this.#needs
    if (event.kind === 'receipt') events.emit('receipt', event)
    if (event.kind === 'typing') events.emit('typing', event)
    if (event.kind === 'changed') events.emit('changed', event)
    events.emit('live', event)
  }

  #own(row: TopicName): string {
    return topic(row, this.app, this.user)
  }

  /** Notices and broadcasts are not written to by clients. */
  #topicOf(conversation: ConversationId): string | undefined {
    const [a = '', b = ''] = partsOf(conversation)
    if (conversation.startsWith('u:')) return topic('sendToUser', this.app, a === this.user ? b : a)
    if (conversation.startsWith('g:')) return topic('sendToGroup', this.app, a)
    return conversation.startsWith('d:') ? topic('sendToDevice', this.app, a) : undefined
  }
}

/** Nothing where it is no JSON object: what this version cannot read is passed over. */
function parsed(payload: Uint8Array): object | undefined {
  try {
    const value: unknown = JSON.parse(decoder.decode(payload))
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

/** 128 random bits, as hex. */
export function randomId(): string {
  // randomUUID is missing in browsers on pages that came without TLS.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, '0')).join('')
}
