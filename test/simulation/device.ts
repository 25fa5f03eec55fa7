/** A stock MQTT client of somebody: it sends and sends again, and acknowledges when it is told to. */
import {
  ackPacket,
  connectPacket,
  decode,
  disconnectPacket,
  PUBACK,
  PUBCOMP,
  PUBREC,
  PUBREL,
  publishPacket,
  subscribePacket,
  type Version,
} from '../../bench/wire/packets.ts'
import { type View, Wire } from '../../bench/wire/wire.ts'
import type { Operation } from '../checker/history.ts'
import type { Line } from './network.ts'

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

interface Outgoing {
  text: string
  clientMessageId?: string | undefined
  conversation: string
  topic: string
  payload: string
  qos: 1 | 2
  /** PUBREC came: only PUBREL is left to send. */
  released: boolean
  sent: boolean
}

const MAX_IN_FLIGHT = 8
const INBOX_ID = 65_535

export class Device {
  readonly is: DeviceIs
  readonly #world: World
  /** Its CONNACK came. */
  connected = false
  subscribed = false
  #subscribing = false
  /** Packet id → what is not acknowledged, in the order of sending. */
  #out = new Map<number, Outgoing>()
  #ids = 0
  #count = 0
  /** Messages to each conversation. */
  readonly #counts = new Map<string, number>()
  /** It has nothing of before, and begins a new session. */
  #blank = false
  /** Its session ends with this connection. */
  #passing = false
  #wire: Wire | undefined
  #line: Line | undefined
  #connections = 0
  #node: number | undefined
  /** Nodes that it left before they answered: such a CONNECT may have its turn after a later one elsewhere. */
  readonly #unanswered = new Set<number>()
  /** Received and not acknowledged, on this connection. */
  unacknowledged: number[] = []

  constructor(is: DeviceIs, world: World) {
    this.is = is
    this.#world = world
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
    return this.#out.size > 0
  }

  connect(node: number): void {
    this.drop()
    if (this.#wire) return
    this.#moves(node)
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
      ack: (type, id, code) => this.#wire === wire && this.#acked(type, id, code),
      closed: () => this.#wire === wire && this.#gone({}),
    })
    wire.acknowledges = false
    this.#wire = wire
    const properties = {
      ...(persistent && { sessionExpiryInterval: 86_400 }),
      ...(receiveMaximum && { receiveMaximum }),
    }
    this.#send(
      connectPacket(version, {
        clientId,
        username: user,
        password,
        clean: !persistent || this.#blank,
        ...(version === 5 && { properties }),
      }),
    )
  }

  /** Another node cannot ask the one before for what it has not written: to the reader that is a crash. */
  #moves(node: number): void {
    const { connection, session } = this
    const isElsewhere = [...this.#unanswered].some(unanswered => unanswered !== node)
    if (isElsewhere || (this.#node !== node && this.#node !== undefined))
      this.#world.tell({ do: 'disconnected', at: this.#world.now(), connection, session, crash: true })
    this.#node = node
  }

  /** It asked for a new session and does not know whether there is one: giving up now, it could not tell which one it is in later. */
  get #beginsAnew(): boolean {
    return !this.connected && this.#blank && this.is.persistent
  }

  /** The connection is given up without a word; the server may hear of it or not. */
  drop(silently = false): void {
    if (!this.#wire || this.#beginsAnew) return
    const line = this.#line
    this.#gone({})
    if (silently) line?.freeze()
    else line?.cut()
  }

  /** DISCONNECT; nothing that is unacknowledged is sent again. */
  leave(): void {
    if (!this.#wire || !this.connected || this.#out.size > 0) return
    this.#send(disconnectPacket(this.is.version))
    const wire = this.#wire
    this.#gone({})
    wire.stream.end()
  }

  /** It loses what it knew: what it sent has no outcome, and its session begins anew. */
  forget(): void {
    this.drop()
    if (this.#wire) return
    this.#out.clear()
    this.#ids = 0
    this.#blank = true
    this.subscribed = false
  }

  /** The process at the other end died. */
  crashed(): void {
    if (this.#wire) this.#gone({ crash: true })
  }

  #gone(how: { crash?: true }): void {
    const was = this.connected
    if (!was && this.#node !== undefined) this.#unanswered.add(this.#node)
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
        ...how,
        ...(this.#passing && { left: true }),
      })
  }

  // ---- sending ----

  say(conversation: string, topic: string, qos: 1 | 2): void {
    if (this.#out.size >= MAX_IN_FLIGHT) return
    const text = `${this.is.clientId}-${++this.#count}`
    const clientMessageId = this.is.namesMessages ? this.#name(conversation) : undefined
    this.#ids = this.#nextId()
    const payload = clientMessageId ? JSON.stringify({ text, clientMessageId }) : text
    this.#out.set(this.#ids, { text, clientMessageId, conversation, topic, payload, qos, released: false, sent: false })
    if (this.connected) this.#hand(this.#ids)
  }

  /** Some clients count; others take the least that is free, so that an id is soon another message's. */
  #nextId(): number {
    if (this.is.version === 4) return (this.#ids % 60_000) + 1
    let id = 1
    while (this.#out.has(id)) id++
    return id
  }

  /** What it names a message in one conversation, it names another in the next, and so do other people. */
  #name(conversation: string): string {
    const count = (this.#counts.get(conversation) ?? 0) + 1
    this.#counts.set(conversation, count)
    return `${this.is.clientId.slice(1)}-${count}`
  }

  #hand(id: number): void {
    const out = this.#out.get(id)
    if (!out) return
    if (out.released) {
      this.#send(ackPacket(this.is.version, PUBREL, id))
      return
    }
    this.#world.tell({
      do: 'sent',
      at: this.#world.now(),
      connection: this.connection,
      from: this.is.user,
      conversation: out.conversation,
      text: out.text,
      ...(out.clientMessageId && { clientMessageId: out.clientMessageId }),
      ...(out.sent && { again: true }),
    })
    this.#send(publishPacket(this.is.version, { ...out, id, dup: out.sent }))
    out.sent = true
  }

  #acked(type: number, id: number, code: number): void {
    const out = this.#out.get(id)
    if (!out) return
    const at = this.#world.now()
    if (code >= 0x80) {
      this.#out.delete(id)
      this.#world.tell({ do: 'refused', at, text: out.text, code: `0x${code.toString(16)}` })
    } else if (type === PUBREC) {
      out.released = true
      this.#hand(id)
    } else if (type === PUBACK || type === PUBCOMP) {
      this.#out.delete(id)
      this.#world.tell({ do: 'acknowledged', at, text: out.text })
    }
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
      for (const id of [...this.#out.keys()]) this.#hand(id)
    } else if (packet.type === 'suback' && packet.codes[0] === 1) {
      this.subscribed = true
      this.#subscribing = false
      this.#world.tell({ do: 'subscribed', at, session: this.session })
    }
  }

  subscribe(): void {
    if (!this.connected || this.#subscribing) return
    this.#subscribing = true
    this.#send(subscribePacket(this.is.version, INBOX_ID, [{ filter: `im/u/${this.is.user}/inbox`, qos: 1 }]))
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
    if (id !== undefined) this.#send(ackPacket(this.is.version, PUBACK, id))
  }

  #send(bytes: Uint8Array): void {
    this.#wire?.write(bytes)
    this.#wire?.flush()
  }
}
