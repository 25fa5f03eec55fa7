/** The MQTT side: connections come in as streams, and become callers of the rules and readers of the log. */
import type { Duplex } from 'node:stream'
import type { Cluster, Connections, RetainedValues } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import { type AedesBroker, type AedesClient, accepted, attach, type Hooks, openAedes } from './aedes.ts'
import { replyTopic } from './answers.ts'
import type { Connection } from './connection.ts'
import { ConnectionTable } from './connections.ts'
import { Delivery } from './delivery.ts'
import { Entrance, type EntranceNeeds, type EntranceOptions } from './entrance.ts'
import type { BrokerGauges } from './observer.ts'
import { Peers } from './peers.ts'
import { refuseConnect } from './refusals.ts'
import { SessionStore } from './sessions.ts'
import { type Arrival, release, tap } from './tap.ts'
import { Upkeep } from './upkeep.ts'
import { tellOrDelay } from './wills.ts'

export type { BrokerGauges, BrokerObserver } from './observer.ts'
export { wordOfEnd } from './peers.ts'
export { readProxyHeader } from './proxy.ts'
export { SESSIONS } from './session-rows.ts'
export type BrokerOptions = EntranceOptions
export interface BrokerNeeds
  extends Omit<EntranceNeeds, 'table' | 'delivery' | 'store' | 'closed' | 'stopping' | 'holders'> {
  retained: RetainedValues
  /** Absent: this node is alone. */
  cluster?: Cluster | undefined
}

export interface Broker {
  /** Takes a connection: a TCP or TLS socket, or the stream of a WebSocket. */
  handle(stream: Duplex, peer: { address: string }): void
  connections: Connections
  gauges(): BrokerGauges
  /** Ends all connections and writes what their sessions need; new ones are refused. */
  close(): Promise<void>
}

export async function createBroker(needs: BrokerNeeds): Promise<Broker> {
  const broker = new MqttBroker(needs)
  await broker.open()
  return broker
}

/** A CONNECT without an outcome for so long ends its connection. */
const CONNECT_MS = 10_000
/** A server that stops waits so long for CONNECTs that are being looked at. */
const ENTERING_MS = 3_000

class MqttBroker implements Broker {
  readonly #table: ConnectionTable
  readonly #peers: Peers | undefined
  readonly #needs: BrokerNeeds
  readonly #delivery: Delivery
  readonly #store: SessionStore
  readonly #entrance: Entrance
  readonly #upkeep: Upkeep
  readonly #arrivals = new WeakMap<AedesClient, Arrival>()
  #aedes!: AedesBroker
  #closing = false

  constructor(needs: BrokerNeeds) {
    this.#needs = needs
    const { cluster, memberships, observer, random } = needs
    const run = cluster && `${cluster.node}/${Buffer.from(random.bytes(6)).toString('hex')}`
    this.#store = new SessionStore({ ...needs, run })
    this.#delivery = new Delivery(needs.log, memberships)
    this.#table = new ConnectionTable(memberships)
    const here = { ...needs, table: this.#table, delivery: this.#delivery, store: this.#store }
    this.#upkeep = new Upkeep({ ...here, isFirst: () => this.#peers?.isFirst ?? true })
    const recover = (run: string) => this.#upkeep.recover(run)
    const closed = (connection: Connection) => this.#closed(connection)
    this.#peers =
      cluster && new Peers({ ...here, cluster, run: run as string, recover, closed, failed: observer.failed })
    this.#entrance = new Entrance({ ...here, closed, stopping: () => this.#closing, holders: this.#peers?.holders })
  }

  get connections(): Connections {
    return this.#peers?.connections ?? this.#table
  }

  async open(): Promise<void> {
    await this.#upkeep.recover()
    await this.#peers?.open()
    this.#aedes = await openAedes(this.#hooks())
    this.#aedes.on('clientReady', client => this.#ready(client))
    for (const event of ['clientError', 'connectionError'] as const) this.#aedes.on(event, () => {})
    this.#aedes.on('error', error => this.#needs.observer.failed('aedes', error))
    this.#upkeep.start()
  }

  handle(stream: Duplex, { address }: { address: string }): void {
    if (this.#closing) {
      stream.destroy()
      return
    }
    const client = attach(this.#aedes, stream, error => this.#needs.observer.failed('read', error))
    const arrival: Arrival = { address, held: [] }
    this.#arrivals.set(client, arrival)
    tap(client, arrival, this.#needs)
    stream.on('close', () => {
      const connection = this.#arrivals.get(client)?.connection
      if (connection) this.#closed(connection).catch(error => this.#needs.observer.failed('close', error))
    })
  }

  gauges(): BrokerGauges {
    return this.#table.gauges()
  }

  async close(): Promise<void> {
    this.#closing = true
    this.#upkeep.stop()
    const wasWritten = await this.#endAll()
    // Who was coming in has a session then, or none.
    const hasSettled = await Promise.race([
      this.#entrance.idle().then(() => true),
      this.#limit(ENTERING_MS).then(() => false),
    ])
    const isWritten = await this.#endAll()
    this.#delivery.close()
    await this.#peers?.close(wasWritten && hasSettled && isWritten)
    await new Promise<void>(resolve => this.#aedes.close(resolve))
  }

  /** Whether all sessions are written. */
  async #endAll(): Promise<boolean> {
    const all = [...this.#table.all()]
    for (const connection of all) {
      connection.end('shutting-down')
      // What an earlier end could not write is tried now.
      void connection.session.record.unwritten()
    }
    const closed = await Promise.allSettled(all.map(connection => this.#closed(connection)))
    return closed.every(({ status }) => status === 'fulfilled')
  }

  // ---- hooks: none may throw or reject, for that would end the process ----

  #hooks(): Hooks {
    return {
      preConnect: (client, packet, done) => {
        const arrival = this.#arrivals.get(client)
        if (arrival) arrival.packet = packet
        // MQTT 5 lets the server name a client that names itself nothing; 3.1.1 only without a session [MQTT-3.1.3-7].
        if (packet.clientId === '' && (packet.protocolVersion === 5 || packet.clean)) {
          packet.clientId = `auto-${Buffer.from(this.#needs.random.bytes(12)).toString('hex')}`
          if (arrival && packet.protocolVersion === 5) arrival.assignedId = packet.clientId
        }
        done(null, true)
      },
      authenticate: (client, _username, _password, done) => this.#authenticate(client, done),
      authorizePublish: (client, packet, done) => {
        const connection = client && this.#arrivals.get(client)?.connection
        // Wills are told by us, with their permission asked again; nothing else comes without a client.
        if (connection) connection.publish(packet, () => done(null))
        else done(new Error('no connection'))
      },
      responseTopic: client => {
        const connection = this.#arrivals.get(client)?.connection
        return connection && replyTopic(connection.session.id)
      },
      resumed: key => this.#entrance.resumed(key),
      released: (key, packetId) => this.#released(key, packetId),
    }
  }

  #authenticate(client: AedesClient, done: (error: null, ok: boolean) => void): void {
    const arrival = this.#arrivals.get(client)
    if (!arrival?.packet) return
    const { packet } = arrival
    const cancel = this.#needs.scheduler.after(CONNECT_MS, () => client.conn.destroy())
    this.#entrance.admit(client, packet, arrival.address).then(
      connection => {
        cancel()
        arrival.connection = connection
        // It holds the bytes that it was read from.
        arrival.packet = undefined
        // To Aedes a client is its session: two users with the same client id never meet.
        client.id = connection.session.key
        client._assignedClientId = arrival.assignedId
        accepted(client, this.#aedes)
        if (client.closed || this.#closing) connection.end('shutting-down')
        if (client.closed) this.#closed(connection).catch(error => this.#needs.observer.failed('close', error))
        else done(null, true)
        connection.resume()
        release(arrival, connection, this.#needs)
      },
      thrown => {
        cancel()
        const fault = Fault.from(thrown)
        if (fault.code === 'internal') this.#needs.observer.failed('connect', fault.cause)
        this.#needs.observer.connectRefused(fault.code)
        refuseConnect(client, fault, this.#needs.scheduler)
      },
    )
  }

  #ready(client: AedesClient): void {
    const connection = this.#arrivals.get(client)?.connection
    // One that was taken over as it came in has left already.
    if (!connection || connection.closing) return
    this.#needs.observer.connected()
    connection.begin()
  }

  /** PUBREL. Where the release cannot be written there is no PUBCOMP, and the client sends it again. */
  async #released(key: string, packetId: number): Promise<void> {
    const connection = this.#table.ofSession(key)
    try {
      await connection?.origins.release(packetId)
    } catch (thrown) {
      connection?.end(Fault.from(thrown).code)
      await new Promise(() => {})
    }
  }

  // ---- end of a connection ----

  #closed(connection: Connection): Promise<void> {
    connection.closing ??= this.#leave(connection)
    return connection.closing
  }

  /** What was under way is settled and written before anyone else may have the session. */
  async #leave(connection: Connection): Promise<void> {
    const { client, session, ingress, origins } = connection
    session.pump.close()
    connection.leave()
    try {
      if (ingress.unanswered > 0) await Promise.race([ingress.idle(), this.#limit()])
      if (connection.saidGoodbye) await origins.clear().catch(error => this.#needs.observer.failed('origins', error))
      const expirySeconds = client.version === 5 ? client.sessionExpiryInterval : session.record.row.expirySeconds
      const willAt = await tellOrDelay(connection, expirySeconds, this.#needs, this.#closing ? Upkeep.GRACE_MS : 0)
      await session.close({ expirySeconds, willAt, mayRepeat: !connection.saidGoodbye, origins: () => origins.left() })
    } finally {
      this.#table.delete(connection)
      this.#peers?.holders.release(connection)
      this.#entrance.resumed(session.key)
      if (connection.begun) this.#needs.observer.disconnected()
    }
  }

  /** A log that does not answer keeps nobody from connecting again. */
  #limit(ms = this.#needs.options.answerMs): Promise<void> {
    return new Promise(resolve => this.#needs.scheduler.after(ms, resolve))
  }
}
