/** CONNECT: who it is, which session it goes on with, and what becomes of that session's connection before. */
import type { Known } from '../core/caller.ts'
import type { DeliveryMarks, Gatekeeper, Memberships, MessageLog, Random, Records, Scheduler } from '../core/ports.ts'
import type { Run } from '../core/run.ts'
import { Fault } from '../protocol/faults.ts'
import { matchTopic, TOPICS } from '../protocol/topics.ts'
import { grantsWill } from './access.ts'
import type { AedesClient, ConnectPacket } from './aedes.ts'
import { Connection, type ConnectionLimits } from './connection.ts'
import type { ConnectionTable } from './connections.ts'
import type { Delivery } from './delivery.ts'
import { Elsewhere } from './elsewhere.ts'
import type { Holders } from './holders.ts'
import { Ingress } from './ingress.ts'
import type { BrokerObserver } from './observer.ts'
import { Origins } from './origins.ts'
import { breaksRule } from './rules.ts'
import { Session } from './session.ts'
import { type SessionId, type StoredWill, sessionKey } from './session-rows.ts'
import type { Leaves, Opened, SessionStore } from './sessions.ts'
import { tellLeftWill } from './wills.ts'

export interface EntranceOptions extends ConnectionLimits {
  windowMessages: number
  connectionsPerUser: number
  /** Of a session of MQTT 3.1.1, which has no expiry of its own. */
  sessionExpirySeconds: number
}

export interface EntranceNeeds {
  run: Run
  gatekeeper: Gatekeeper
  memberships: Memberships
  marks: DeliveryMarks
  log: MessageLog
  records: Records
  scheduler: Scheduler
  random: Random
  observer: BrokerObserver
  options: EntranceOptions
  table: ConnectionTable
  delivery: Delivery
  store: SessionStore
  /** Called when the socket of an accepted connection is gone. */
  closed(connection: Connection): Promise<void>
  /** The server ends. */
  stopping(): boolean
  /** Where there are other nodes. */
  holders: Holders | undefined
}

const MAX_CLIENT_ID_BYTES = 256

export class Entrance {
  readonly #needs: EntranceNeeds
  readonly #elsewhere: Elsewhere | undefined
  /** CONNECTs of one session, one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>()
  /** Sessions whose CONNACK says that they go on. */
  readonly #resumed = new Set<string>()

  constructor(needs: EntranceNeeds) {
    this.#needs = needs
    this.#elsewhere = needs.holders && new Elsewhere(needs)
  }

  /** Resolves when what was under way has its session, or none. */
  async idle(): Promise<void> {
    await Promise.all(this.#turns.values())
  }

  /** For Session Present, asked once for each CONNECT. */
  resumed(key: string): boolean {
    return this.#resumed.delete(key)
  }

  /** @throws Fault: the CONNECT is refused with its code. */
  async admit(client: AedesClient, packet: ConnectPacket, address: string): Promise<Connection> {
    const { gatekeeper, options, table } = this.#needs
    if (breaksRule(packet)) throw new Fault('protocol-error')
    if (packet.username === undefined || packet.password === undefined) throw new Fault('not-signed-in')
    const { clientId } = packet
    if (Buffer.byteLength(clientId) > MAX_CLIENT_ID_BYTES || /[\0\ufffd]/.test(clientId))
      throw new Fault('identifier-rejected')
    const caller = (await gatekeeper.connect(packet.username, packet.password.toString(), address)) as Known
    const id = { app: caller.app, member: caller.member, clientId }
    const key = sessionKey(id)
    const goesOn = table.ofSession(key) !== undefined || this.#turns.has(key)
    if (!goesOn && table.countOf(id.app, id.member) >= options.connectionsPerUser)
      throw new Fault('too-many-connections')
    const place = table.take(caller)
    try {
      const will = await this.#willOf(packet, caller)
      const connection = await this.#inTurn(key, () => this.#enter(client, packet, id, caller, will))
      // Revoked while it came in.
      if (place.ended) connection.end(place.ended)
      return connection
    } finally {
      table.giveBack(place)
    }
  }

  async #inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(key) ?? Promise.resolve()).then(work, work)
    const settled = turn.catch(() => {})
    this.#turns.set(key, settled)
    try {
      return await turn
    } finally {
      if (this.#turns.get(key) === settled) this.#turns.delete(key)
    }
  }

  /**
   * The connection before is told, and has written what it leaves, before this one reads it [MQTT-3.1.4-3].
   * @throws Fault `log-unavailable`: it cannot be written now.
   */
  async #takeOver(before: Connection): Promise<void> {
    before.end('session-taken-over')
    const closed = before.closing ?? this.#needs.closed(before)
    const stuck = before.session.record.unwritten().then(() => Promise.reject(new Fault('log-unavailable')))
    await Promise.race([closed, stuck])
  }

  async #enter(
    client: AedesClient,
    packet: ConnectPacket,
    id: SessionId,
    caller: Known,
    will: StoredWill | undefined,
  ): Promise<Connection> {
    const { store, table, run, holders, stopping } = this.#needs
    const key = sessionKey(id)
    const before = table.ofSession(key)
    if (client.closed || stopping()) throw new Fault('shutting-down')
    if (before) await this.#takeOver(before)
    const expirySeconds = this.#expiryOf(packet)
    const wish = { clean: packet.clean ?? true, expirySeconds, grant: caller.grant, ...(will && { will }) }
    const open = async (asks?: Leaves) => {
      const leaves: Leaves | undefined =
        asks &&
        (async (...of) => {
          await asks(...of)
          // Who has gone while it was waited for takes nothing from who came after them.
          if (client.closed || stopping()) throw new Fault('shutting-down')
        })
      const opened = await store.open(id, wish, { ends: row => tellLeftWill(run, row), leaves })
      return this.#begin(client, packet, caller, opened)
    }
    return holders ? holders.opening(key, open) : open()
  }

  #begin(client: AedesClient, packet: ConnectPacket, caller: Known, opened: Opened): Connection {
    const { table, run, records, scheduler, holders } = this.#needs
    const connection = new Connection({
      client,
      caller,
      limits: this.#needs.options,
      scheduler,
      observer: this.#needs.observer,
    })
    connection.session = this.#session(connection, opened, packet)
    connection.origins = new Origins(records, connection.session.key, opened.row.epoch, opened.resumed)
    connection.ingress = new Ingress({
      caller,
      session: connection.session,
      origins: connection.origins,
      run,
      scheduler,
      elsewhere: this.#elsewhere,
    })
    if (opened.resumed) this.#resumed.add(connection.session.key)
    table.add(connection)
    holders?.hold(connection)
    return connection
  }

  #session(connection: Connection, opened: Opened, packet: ConnectPacket): Session {
    const { options, observer, ...needs } = this.#needs
    const { receiveMaximum, maximumPacketSize } = packet.properties ?? {}
    return new Session(opened, {
      ...needs,
      others: needs.holders !== undefined,
      listening: async () => needs.holders?.listening(),
      outlet: connection,
      limits: {
        messages: Math.min(receiveMaximum ?? options.windowMessages, options.windowMessages),
        bytes: options.windowBytes,
        maxPacketBytes: maximumPacketSize,
      },
      failed: observer.failed,
      delivered: observer.delivered,
      lost: () => connection.end('session-taken-over'),
    })
  }

  #expiryOf({ protocolVersion, properties, clean }: ConnectPacket): number {
    if (protocolVersion === 5) return properties?.sessionExpiryInterval ?? 0
    return clean ? 0 : this.#needs.options.sessionExpirySeconds
  }

  /** A will is a publish of this client: looked at now, and once more when it is told. */
  async #willOf({ will, protocolVersion }: ConnectPacket, caller: Known): Promise<StoredWill | undefined> {
    if (!will) return undefined
    const match = matchTopic(will.topic)
    if (!match || TOPICS[match.row].from !== 'client' || match.app !== caller.app) throw new Fault('no-such-topic')
    if (will.retain && match.row !== 'telemetry') throw new Fault('no-retained')
    if (!(await grantsWill(match, caller, this.#needs.memberships))) throw new Fault('not-allowed')
    const delaySeconds = protocolVersion === 5 ? (will.properties?.willDelayInterval ?? 0) : 0
    const payload = Buffer.from(will.payload as unknown as Uint8Array).toString('base64')
    const id = Buffer.from(this.#needs.random.bytes(12)).toString('hex')
    return { id, topic: will.topic, payload, qos: will.qos ?? 0, delayMs: delaySeconds * 1000 }
  }
}
