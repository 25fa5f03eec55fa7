/**
 * The client of the messaging server, for browsers and Node.
 *
 *     const client = createClient({ url: 'https://chat.example' })
 *     await client.logIn({ user: 'alice', password })
 *     client.on('message', ({ from, text }) => show(from, text))
 *     await client.connect()
 *     const { seq } = await client.conversation('bob').send('see you at six')
 */
import { between, ConversationId, UserId } from '../protocol/ids.ts'
import type { DraftInput, Entry, Gap } from '../protocol/messages.ts'
import type { Profile } from '../protocol/operations/shapes.ts'
import { type OperationName, type Request, type Result, rowOf } from '../protocol/operations.ts'
import { Account, type KeyLogin, type Tokens } from './account.ts'
import { type Conversation, conversation, type HistoryRange } from './conversation.ts'
import { Emitter, type Listener } from './emitter.ts'
import type { ClientEvents } from './events.ts'
import type { TlsOptions } from './link.ts'
import type { Sent } from './outbox.ts'
import { Refusal } from './refusal.ts'
import { ask, type Fetch, type RestOptions } from './rest.ts'
import { openSession, randomId, type Session } from './session.ts'
import { memoryStore, type Store } from './store.ts'

export type { KeyLogin, Tokens } from './account.ts'
export type { Conversation, HistoryRange } from './conversation.ts'
export type { ClientEvents } from './events.ts'
export { createGroup, type Group, group } from './group.ts'
export type { GapEvent } from './inbox.ts'
export type { TlsOptions } from './link.ts'
export { Refusal, type RefusalCode } from './refusal.ts'
export { memoryStore, type Store, webStore } from './store.ts'
export type { DraftInput, Entry, Gap, OperationName, Profile, Request, Result }

export interface ClientOptions {
  /** `http:` or `https:` address of the server. */
  url: string
  /** Where to speak MQTT: `wss:`, `ws:`, and in Node also `mqtts:` and `mqtt:`; `{url}/mqtt` unless given. */
  mqttUrl?: string
  /** A log-in kept from before (event `tokens`), or a personal key. */
  login?: Tokens | KeyLogin
  /** Keeps positions and the outbox; without one they end with the client. */
  store?: Store
  /** The session's name on the server, one per device; made up and kept in the store unless given. */
  clientId?: string
  /** Messages that may wait to be sent. */
  outboxLimit?: number
  keepAliveS?: number
  /** How long the server keeps the session of this client while it is away. */
  sessionExpiryS?: number
  /** How long an answer may take. */
  timeoutMs?: number
  /** How long the own copy of a message may take after its acknowledgement, before it is asked for. */
  confirmAfterMs?: number
  tls?: TlsOptions
  fetch?: Fetch
}

export const createClient = (options: ClientOptions): Client => new Client(options)

/** A request may be left out where the operation needs no field. */
type CallArguments<K extends OperationName> =
  object extends Request<K>
    ? [request?: Request<K>, options?: CallOptions]
    : [request: Request<K>, options?: CallOptions]
export interface CallOptions {
  /** Over the MQTT connection instead of REST. */
  via?: 'mqtt'
}

export class Client {
  readonly #options: ClientOptions
  readonly #rest: RestOptions
  readonly #events = new Emitter<ClientEvents>(thrown => this.#failed(thrown))
  readonly #account: Account
  #session: Promise<Session> | undefined
  readonly #memory = memoryStore()
  #connected = false
  #failing = false

  constructor(options: ClientOptions) {
    this.#options = options
    const url = options.url.replace(/\/+$/, '')
    // Browsers refuse a fetch that was taken off its window.
    this.#rest = {
      url,
      timeoutMs: options.timeoutMs ?? 30_000,
      fetch: options.fetch ?? ((to, init) => fetch(to, init)),
    }
    const changed = (tokens: Tokens | undefined) => void this.#events.emit('tokens', tokens)
    this.#account = new Account({ rest: this.#rest, now: Date.now, changed }, options.login)
    this.on('connected', () => {
      this.#connected = true
    })
    this.on('disconnected', () => {
      this.#connected = false
    })
  }

  /** @throws Refusal `not-signed-in` */
  get identity(): { app: string; user: string } {
    return this.#account.identity
  }

  get connected(): boolean {
    return this.#connected
  }

  /** Returns a function that ends it. */
  on<Name extends keyof ClientEvents>(name: Name, listener: Listener<ClientEvents[Name]>): () => void {
    return this.#events.on(name, listener)
  }

  /** Makes an account and logs it in. @throws Refusal */
  async register(request: Request<'register'>): Promise<Profile> {
    await this.close()
    return this.#account.register(request)
  }

  /** @throws Refusal */
  async logIn(request: Request<'logIn'>): Promise<Profile> {
    await this.close()
    return this.#account.logIn(request)
  }

  /** Ends the log-in on the server too. @throws Refusal */
  async logOut(): Promise<void> {
    await this.close()
    await this.#account.leave()
  }

  /** Resolves when the connection is up; from then on it is kept up. @throws Refusal: trying on does not help. */
  async connect(): Promise<void> {
    const session = await this.#open()
    if (this.#connected) return
    await new Promise<void>((resolve, reject) => {
      const ends = [
        this.on('connected', () => settle(resolve)),
        this.on('disconnected', ({ refusal, again }) => again || settle(() => reject(refusal))),
      ]
      const settle = (done: () => void) => {
        for (const end of ends) end()
        done()
      }
      session.connection.start()
    })
  }

  /** Closes the connection. The session stays on the server, and what is sent meanwhile waits. */
  async disconnect(): Promise<void> {
    await (await this.#session)?.connection.stop()
  }

  /** Closes the connection and forgets what is in memory; messages that wait are refused as `closed`. */
  async close(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    await (await session)?.close()
  }

  /** Any operation of the catalogue. @throws Refusal */
  async call<K extends OperationName>(name: K, ...[given, options]: CallArguments<K>): Promise<Result<K>> {
    const request = (given ?? {}) as Request<K>
    if (options?.via === 'mqtt') return this.#callOverMqtt(name, request)
    return rowOf(name).may === 'anyone' ? ask(this.#rest, name, request) : this.#account.call(name, request)
  }

  /** As `conversation(…).send`. */
  send(conversation: string, draft: DraftInput | string): Promise<Entry> {
    const full = { clientMessageId: randomId(), ...(typeof draft === 'string' ? { text: draft } : draft) } as Sent
    const outcome = this.#open().then(session => session.send(this.#idOf(conversation), full))
    // The event `refused` tells it too, so nobody has to hold the promise.
    outcome.catch(() => undefined)
    return outcome
  }

  /** A user's id, or a conversation's. @throws Refusal `malformed` */
  conversation(withWhom: string): Conversation {
    return conversation(this, this.#idOf(withWhom))
  }

  conversations(page: Request<'listConversations'> = {}): Promise<Result<'listConversations'>> {
    return this.call('listConversations', page)
  }

  /** Ascending; a gap stands in place of what the caller may not or can no longer see. */
  async history(conversation: string, range: HistoryRange = {}): Promise<{ items: (Entry | Gap)[]; next?: string }> {
    const page = await this.call('listMessages', { ...range, conversation: this.#idOf(conversation) })
    return page as { items: (Entry | Gap)[]; next?: string }
  }

  async #callOverMqtt<K extends OperationName>(name: K, request: Request<K>): Promise<Result<K>> {
    const session = await this.#session
    const link = session?.connection.link
    if (!session || !link) throw new Refusal('not-connected')
    return session.calls.call(link, session.app, name, request)
  }

  #idOf(given: string): ConversationId {
    const user = UserId.safeParse(given)
    if (user.success) return between(UserId.parse(this.identity.user), user.data)
    const conversation = ConversationId.safeParse(given)
    if (conversation.success) return conversation.data
    throw new Refusal('malformed', {
      details: { issues: conversation.error.issues.map(({ message }) => ({ message })) },
    })
  }

  #open(): Promise<Session> {
    this.#session ??= this.#openSession().catch(thrown => {
      this.#session = undefined
      throw thrown
    })
    return this.#session
  }

  async #openSession(): Promise<Session> {
    const { url, mqttUrl, keepAliveS = 30, sessionExpiryS = 30 * 86_400, tls } = this.#options
    return openSession({
      account: this.#account,
      events: this.#events,
      store: this.#options.store ?? this.#memory,
      clientId: this.#options.clientId,
      outboxLimit: this.#options.outboxLimit ?? 1_000,
      confirmAfterMs: this.#options.confirmAfterMs ?? 2_000,
      timeoutMs: this.#rest.timeoutMs,
      failed: thrown => this.#failed(thrown),
      link: {
        url: mqttUrl ?? `${url.replace(/^http/, 'ws').replace(/\/+$/, '')}/mqtt`,
        keepAliveS,
        sessionExpiryS,
        receiveMaximum: 100,
        connectTimeoutMs: 10_000,
        ...(tls && { tls }),
      },
    })
  }

  /** An error that nobody listens for goes to the console; one of the listeners for errors always does. */
  #failed(thrown: unknown): void {
    if (this.#failing || !this.#events.has('error')) {
      console.error(thrown)
      return
    }
    this.#failing = true
    void this.#events.emit('error', thrown)
    this.#failing = false
  }
}
