/** A stock MQTT client of somebody: it comes and goes, subscribes, and acknowledges when it is told to. */
import {
  ackPacket,
  connectPacket,
  decode,
  disconnectPacket,
  PUBACK,
  subscribePacket,
  type Version,
} from '../../bench/wire/packets.ts'
import { type View, Wire } from '../../bench/wire/wire.ts'
import type { Operation } from '../checker/history.ts'
import type { Line } from './network.ts'
import { Outbox } from './outbox.ts'

export interface DeviceIs {
  user: string
  clientId: string
  version: Version
  password: string
  /** Its session outlives the connection. */
  persistent: boolean
  /** Entries that it takes unacknowledged; MQTT 5. */
  receiveMaximum?: number
  /** Gives each message an id of its own; others rely on packet ids. */
  namesMessages: boolean
}
export interface World {
  now(): number
  tell(operation: Operation): void
  dial(node: number): Line
}

const INBOX_ID = 65_535

export class Device {
  readonly is: DeviceIs
  readonly outbox: Outbox
  readonly #world: World
  /** Its CONNACK came. */
  connected = false
  subscribed = false
  #subscribing = false
  /** It has nothing of before, and begins a new session. */
  #blank = false
  /** Its session ends with this connection. */
  #passing = false
  #wire: Wire | undefined
  #line: Line | undefined
  #connections = 0
  /** Received and not acknowledged, on this connection. */
  unacknowledged: number[] = []

  constructor(is: DeviceIs, world: World) {
    this.is = is
    this.#world = world
    this.outbox = new Outbox(is, this, world)
  }

  get session(): string {
    return `${this.is.user}/${this.is.clientId}`
  }
  get connection(): string {
    return `${this.session}#${this.#connections}`
  }
  get away(): boolean {
    return this.#wire === undefined
  }
  get sending(): boolean {
    return this.outbox.sending
  }

  connect(node: number): void {
    this.drop()
    if (this.#wire) return
    this.#connections++
    // MQTT 3.1.1: a clean session ends with its connection, whoever comes next.
    this.#passing = !this.is.persistent || (this.#blank && this.is.version === 4)
    const line = this.#world.dial(node)
    this.#line = line
    const { version, user, clientId, password, persistent, receiveMaximum } = this.is
    // What still comes on a connection that was given up is not looked at.
    const wire: Wire = new Wire(line.client, version, {
      packet: (type, flags, body) => this.#wire === wire && this.#came(type, flags, body),
      publish: view => this.#wire === wire && this.#received(view, line),
      ack: (type, id, code) => this.#wire === wire && this.outbox.acked(type, id, code),
      closed: () => this.#wire === wire && this.#gone(),
    })
    wire.acknowledges = false
    this.#wire = wire
    const properties = {
      ...(persistent && { sessionExpiryInterval: 86_400 }),
      ...(receiveMaximum && { receiveMaximum }),
    }
    this.send(
      connectPacket(version, {
        clientId,
        username: user,
        password,
        clean: !persistent || this.#blank,
        ...(version === 5 && { properties }),
      }),
    )
  }

  /** It asked for a new session and does not know whether there is one: giving up now, it could not tell which one it is in later. */
  get #beginsAnew(): boolean {
    return !this.connected && this.#blank && this.is.persistent
  }

  /** The connection is given up without a word; the server may hear of it or not. */
  drop(silently = false): void {
    if (!this.#wire || this.#beginsAnew) return
    const line = this.#line
    this.#gone()
    if (silently) line?.freeze()
    else line?.cut()
  }

  /** DISCONNECT; nothing that is unacknowledged is sent again. */
  leave(): void {
    if (!this.#wire || !this.connected || this.sending) return
    this.send(disconnectPacket(this.is.version))
    const wire = this.#wire
    this.#gone()
    wire.stream.end()
  }

  /** It loses what it knew: what it sent has no outcome, and its session begins anew. */
  forget(): void {
    this.drop()
    if (this.#wire) return
    this.outbox.forget()
    this.#blank = true
    this.subscribed = false
  }

  /** The process at the other end died. */
  crashed(): void {
    if (this.#wire) this.#gone()
  }

  #gone(): void {
    const was = this.connected
    const { connection, session } = this
    this.#wire = undefined
    this.connected = false
    this.#subscribing = false
    this.unacknowledged = []
    if (this.#passing) this.subscribed = false
    if (was)
      this.#world.tell({
        do: 'disconnected',
        at: this.#world.now(),
        connection,
        session,
        ...(this.#passing && { left: true }),
      })
  }

  // ---- receiving ----

  #came(type: number, flags: number, body: Buffer): void {
    const packet = decode(this.is.version, type, flags, body)
    const at = this.#world.now()
    if (packet.type === 'connack') {
      if (packet.code !== 0) {
        this.drop()
        return
      }
      this.connected = true
      this.#blank = false
      const { connection, session } = this
      if (!packet.sessionPresent) this.subscribed = false
      this.#world.tell({ do: 'connected', at, connection, session, user: this.is.user, resumed: packet.sessionPresent })
      this.outbox.resume()
    } else if (packet.type === 'suback' && packet.codes[0] === 1) {
      this.subscribed = true
      this.#subscribing = false
      this.#world.tell({ do: 'subscribed', at, session: this.session })
    }
  }

  subscribe(): void {
    if (!this.connected || this.#subscribing) return
    this.#subscribing = true
    this.send(subscribePacket(this.is.version, INBOX_ID, [{ filter: `im/u/${this.is.user}/inbox`, qos: 1 }]))
  }

  #received({ buffer, flags, id, payloadStart, payloadEnd }: View, line: Line): void {
    const entry = JSON.parse(buffer.toString('utf8', payloadStart, payloadEnd)) as Record<string, unknown>
    const gap = entry.kind === 'gap'
    this.unacknowledged.push(id)
    this.#world.tell({
      do: 'received',
      at: line.handedAt(buffer.length - payloadEnd),
      connection: this.connection,
      session: this.session,
      user: this.is.user,
      conversation: entry.conversation as string,
      seq: (gap ? entry.to : entry.seq) as number,
      kind: entry.kind as string,
      ...(gap && { from: entry.from as number }),
      ...(entry.text !== undefined && { text: entry.text as string }),
      dup: (flags & 8) !== 0,
    })
  }

  /** Acknowledges one of what it has received, in any order. */
  acknowledge(nth: number): void {
    const [id] = this.unacknowledged.splice(nth % Math.max(1, this.unacknowledged.length), 1)
    if (id !== undefined) this.send(ackPacket(this.is.version, PUBACK, id))
  }

  send(bytes: Uint8Array): void {
    this.#wire?.write(bytes)
    this.#wire?.flush()
  }
}
