/**
 * Aedes, as the front end that it is here: it parses, shakes hands, keeps alive, and asks us for everything else.
 * The guards below stand for what version 2.0.0-beta.1 leaves open; nothing outside broker/ knows of it.
 */
import type { Duplex } from 'node:stream'
import { Aedes, type AedesOptions } from 'aedes'
import type { IConnectPacket, IPublishPacket, ISubscribePacket, IUnsubscribePacket } from 'mqtt-packet'

export type {
  IConnectPacket as ConnectPacket,
  IPublishPacket as PublishPacket,
  ISubscribePacket as SubscribePacket,
  IUnsubscribePacket as UnsubscribePacket,
}

/** A packet from outside; only what is looked at before Aedes gets it. */
export interface InboundPacket {
  cmd: string
  length: number
  messageId?: number
  qos?: number
  topic?: string
  properties?: Readonly<Record<string, unknown>>
  will?: { properties?: Readonly<Record<string, unknown>> }
  subscriptions?: unknown[]
  unsubscriptions?: unknown[]
}

/** A client of Aedes, as far as we touch it. */
export interface AedesClient {
  id: string
  readonly version: 3 | 4 | 5
  readonly conn: Duplex
  readonly connected: boolean
  readonly connecting: boolean
  readonly closed: boolean
  sessionExpiryInterval: number
  /** The largest packet that the client takes, of MQTT 5. */
  readonly maximumPacketSize: number | undefined
  broker: AedesBroker
  subscriptions: object
  duplicates: object
  close(done?: () => void): void
  /** Its CONNACK is out. */
  once(event: 'connected', listener: () => void): unknown
  disconnect(options: { reasonCode: number; properties?: { reasonString?: string } }, done?: () => void): void
  /** Reading goes on when a packet is done with, or when there is something to read. */
  _nextBatch(error?: Error | null): void
  /** Ours, since its own `pause` forgets what was done meanwhile and never reads again. */
  reading: Reading
  /** The client sent DISCONNECT, and its will is not told. */
  readonly _disconnected: boolean
  _assignedClientId: string | undefined
  readonly _keepaliveInterval: number
  readonly _keepaliveTimer: NodeJS.Timeout | null
  readonly _requestProblemInformation: boolean
  readonly _parser: NodeJS.EventEmitter
}

export interface AedesBroker {
  maximumPacketSize: number
  handle(stream: Duplex): AedesClient
  close(done: () => void): void
  on(event: 'clientReady', listener: (client: AedesClient) => void): unknown
  on(event: 'clientError' | 'connectionError', listener: (client: AedesClient, error: Error) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
}

type Done = (error?: Error | null, value?: unknown) => void
/** What Aedes asks. A hook that throws or rejects would end the process, so none does: see `guarded` in broker.ts. */
export interface Hooks {
  preConnect(client: AedesClient, packet: IConnectPacket, done: Done): void
  authenticate(client: AedesClient, username: string | undefined, password: Buffer | undefined, done: Done): void
  authorizePublish(client: AedesClient | null, packet: IPublishPacket, done: Done): void
  /** Response Information of MQTT 5, for a client that asks (3.2.2.3.15). */
  responseTopic(client: AedesClient): string | undefined
  /** Whether a session goes on, for Session Present. */
  resumed(clientId: string): boolean
  /** Whether a QoS 2 publish waits for its PUBREL. */
  released(clientId: string, packetId: number): Promise<void>
}

/** The largest packet of a client that is connected, and of one that is not yet. */
export const MAX_PACKET_BYTES = 320 * 1024
const MAX_CONNECT_BYTES = 4 * 1024
const MAX_CLIENT_ID = 65_535

export async function openAedes(hooks: Hooks): Promise<AedesBroker> {
  const options = {
    persistence: persistence(hooks),
    // 0: as many at once as there are; the broker's own matching carries nothing.
    concurrency: 0,
    connectTimeout: 10_000,
    drainTimeout: 0,
    queueLimit: 1_000,
    maxClientsIdLength: MAX_CLIENT_ID,
    maximumPacketSize: MAX_PACKET_BYTES,
    preConnect: hooks.preConnect,
    authenticate: hooks.authenticate,
    authorizePublish: hooks.authorizePublish,
    // The only filter that Aedes hears of stands for a session that goes on; it is not subscribed to.
    authorizeSubscribe: (_client: AedesClient, _filter: unknown, done: Done) => done(null, null),
    authorizeForward: () => null,
    responseInformation: hooks.responseTopic,
  }
  const broker = (await Aedes.createBroker(options as unknown as AedesOptions)) as unknown as AedesBroker
  return Object.assign(broker, {
    // Ids come from outside: a null prototype has no `constructor` or `__proto__` to be taken for a client.
    clients: Object.create(null),
    publish: (_packet: unknown, client: unknown, done?: unknown) => {
      // Nothing passes through the broker's own queue and matching.
      const callback = typeof client === 'function' ? client : done
      if (typeof callback === 'function') setImmediate(callback as () => void)
    },
    // Sessions and wills are ours: the built-in timers keep every absent client's object in memory.
    scheduleSessionExpiry() {},
    scheduleWill() {},
    publishWill() {},
    _wipeSession() {},
  })
}

/** Whether a client is read; it is unless something holds it. */
export class Reading {
  readonly #next: (error?: Error | null) => void
  readonly #holds = new Set<string>()
  #missed = 0

  constructor(client: AedesClient, failed: (error: unknown) => void) {
    const next = client._nextBatch
    this.#next = error => {
      try {
        next(error)
      } catch (thrown) {
        // In the parser or in Aedes: it costs this client its connection, and not everybody theirs.
        failed(thrown)
        client.conn.destroy()
      }
    }
    client._nextBatch = error => this.#turn(error)
    client.conn.removeListener('readable', next)
    client.conn.on('readable', () => this.#turn())
  }

  hold(why: string): void {
    this.#holds.add(why)
  }

  goOn(why: string): void {
    if (!this.#holds.delete(why) || this.#holds.size > 0) return
    // Aedes counts what it waits for, so each turn is made up for.
    while (this.#missed > 0 && this.#holds.size === 0) {
      this.#missed--
      this.#next()
    }
  }

  #turn(error?: Error | null): void {
    if (this.#holds.size > 0 && !error) this.#missed++
    else this.#next(error)
  }
}

/** Takes a connection; until its CONNECT is accepted it may send little. */
export function attach(broker: AedesBroker, stream: Duplex, failed: (error: unknown) => void): AedesClient {
  const client = broker.handle(stream)
  // Aedes reads the limit through the client's broker: this view differs in that one value, and `accepted` drops it.
  client.broker = Object.create(broker, { maximumPacketSize: { value: MAX_CONNECT_BYTES } }) as AedesBroker
  client.subscriptions = Object.create(null)
  client.duplicates = new Proxy({}, { get: () => 0, set: () => true })
  client.reading = new Reading(client, failed)
  return client
}

export function accepted(client: AedesClient, broker: AedesBroker): void {
  client.broker = broker
}

/** Aedes' store. It holds nothing: filters, sessions and wills are in sessions.ts, what is in flight in the pump. */
function persistence({ resumed, released }: Hooks) {
  const nothing = async () => {}
  const none = async () => []
  async function* empty() {}
  return {
    setup: async () => {},
    storeRetained: nothing,
    createRetainedStream: empty,
    createRetainedStreamCombi: empty,
    addSubscriptions: nothing,
    removeSubscriptions: nothing,
    cleanSubscriptions: nothing,
    /** A reserved filter makes Session Present true for a session without filters too [MQTT-3.2.2-2]. */
    subscriptionsByClient: async ({ id }: { id: string }) => (resumed(id) ? [{ topic: 'session', qos: 0 }] : []),
    subscriptionsByTopic: none,
    countOffline: async () => ({ subsCount: 0, clientsCount: 0 }),
    outgoingEnqueue: nothing,
    outgoingEnqueueCombi: nothing,
    outgoingUpdate: nothing,
    outgoingClearMessageId: nothing,
    outgoingStream: empty,
    /** QoS 2 is recognised in ingress.ts, before the append: to Aedes every publish is new. */
    incomingGetPacket: async ({ id }: AedesClient, { cmd, messageId }: { cmd: string; messageId: number }) => {
      if (cmd !== 'pubrel') throw new Error('new')
      return { id, messageId }
    },
    incomingStorePacket: nothing,
    incomingDelPacket: ({ id }: AedesClient, { messageId }: { messageId: number }) => released(id, messageId),
    putWill: nothing,
    getWill: nothing,
    delWill: nothing,
    streamWill: empty,
    getClientList: empty,
    destroy: nothing,
  }
}
