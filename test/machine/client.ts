/** A stock MQTT client: it sends what it is told to, sends again what has no answer, and tells the model what it sees. */
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
  unsubscribePacket,
  type Version,
} from '../../bench/wire/packets.ts'
import { type View, Wire } from '../../bench/wire/wire.ts'
import type { Line } from '../simulation/network.ts'
import type { Wish } from './life.ts'
import type { Log, Message } from './log.ts'
import type { SessionModel } from './session.ts'

export interface ClientIs {
  user: 'alice' | 'bob'
  clientId: string
  version: Version
  password: string
}
interface World {
  readonly log: Log
  /** Whether nothing is under way since the last quiet moment. */
  readonly calm: boolean
  dial(): Line
  wrong(what: string): void
  acknowledged(): void
}
interface Outgoing {
  message: Message
  topic: string
  payload: string
  qos: 0 | 1 | 2
  sent: boolean
  /** PUBREC came: only PUBREL is left to send. */
  released: boolean
}
/** Whether packets still arrive; a client that lost its connection in silence does not know. */
export type Loss = 'cut' | 'frozen' | 'taken over'

export const inbox = (user: string) => `im/u/${user}/inbox`
const MAX_IN_FLIGHT = 12
const CONTROL_ID = 60_000

export class Client {
  readonly is: ClientIs
  readonly session: SessionModel
  readonly #world: World
  #wire: Wire | undefined
  #line: Line | undefined
  /** Left open for the server to end. */
  #abandoned: Line[] = []
  readonly #out = new Map<number, Outgoing>()
  /** Of QoS 0, on this connection since the last quiet moment. */
  #unanswered: Message[] = []
  /** A CONNECT was given up before its answer: it may arrive behind the next one, and take its session over. */
  overtaken = false
  #ids = 0
  #count = 0
  #controls = 0
  #last: { conversation: string; topic: string; payload: string; message: Message } | undefined

  constructor(is: ClientIs, session: SessionModel, world: World) {
    this.is = is
    this.session = session
    this.#world = world
  }

  get name(): string {
    return `${this.is.user}/${this.is.clientId}`
  }
  /** Goes on with what is there, for some time. */
  get lasting(): Wish {
    return { clean: false, expirySeconds: this.is.version === 5 ? 60 : 86_400 }
  }
  get away(): boolean {
    return this.#wire === undefined
  }
  get connecting(): boolean {
    return this.#wire !== undefined && !this.session.connected
  }
  get connected(): boolean {
    return this.session.connected
  }
  get sending(): boolean {
    return this.#out.size > 0
  }

  // ---- the connection ----

  connect(wish: Wish): void {
    this.lose('taken over')
    const { version, clientId, user, password } = this.is
    const line = this.#world.dial()
    const wire = new Wire(line.client, version, {})
    wire.ears = {
      packet: (type, flags, body) => this.#wire === wire && this.#came(type, flags, body),
      publish: view => this.#wire === wire && this.#received(view),
      ack: (type, id, code) => this.#wire === wire && this.#acked(type, id, code),
      closed: () => this.#wire === wire && this.#closed(),
      broken: error => this.#world.wrong(`${this.name}: ${error.stack}`),
    }
    wire.acknowledges = false
    this.#wire = wire
    this.#line = line
    this.session.connecting(wish)
    const { clean, expirySeconds, receiveMaximum } = wish
    const properties = {
      ...(expirySeconds > 0 && { sessionExpiryInterval: expirySeconds }),
      ...(receiveMaximum && { receiveMaximum }),
    }
    this.#send(
      connectPacket(version, { clientId, username: user, password, clean, ...(version === 5 && { properties }) }),
    )
  }

  /** The connection is given up without a word; the server may hear of it or not. */
  lose(how: Loss): void {
    const line = this.#line
    if (!this.#wire || !line) return
    this.#gone(how)
    if (how !== 'cut') this.#abandoned.push(line)
    if (how === 'cut') line.cut()
    if (how === 'frozen') line.freeze()
  }

  /** The line goes silent, and the client goes on without knowing. */
  freeze(): void {
    if (!this.session.connected || this.session.frozen) return
    this.#line?.freeze()
    this.session.freezes()
  }

  /** DISCONNECT; a client with something unanswered does not leave. */
  leave(expirySeconds?: number): void {
    const wire = this.#wire
    if (!wire || !this.session.connected || this.session.frozen || this.#out.size > 0) return
    const properties = expirySeconds === undefined ? undefined : { sessionExpiryInterval: expirySeconds }
    this.#send(disconnectPacket(this.is.version, 0, properties))
    if (expirySeconds !== undefined) this.session.life.expirySeconds = expirySeconds
    this.#gone()
    wire.stream.end()
  }

  /** The process at the other end died. */
  crashed(power: boolean): void {
    this.session.crashed(power)
    this.#gone()
  }

  #closed(): void {
    if (!this.overtaken) this.#world.wrong(`${this.name}: the server ended the connection`)
    this.#gone()
  }
  /** The server ends, and says so or not. */
  ended(): void {
    this.#gone()
  }

  #gone(how: Loss = 'cut'): void {
    if (!this.#wire) return
    if (!this.session.connected) this.overtaken = true
    // Whatever the server still takes for this client ends, too.
    if (this.overtaken && how !== 'taken over') for (const line of this.#abandoned.splice(0)) line.cut()
    this.session.lost(this.#world.calm && !this.overtaken, how === 'frozen')
    this.#wire = undefined
    this.#line = undefined
    for (const message of this.#unanswered.splice(0)) message.open = false
  }

  // ---- publishing ----

  publish(conversation: string, topic: string, qos: 0 | 1 | 2, named: boolean): void {
    if (this.#out.size >= MAX_IN_FLIGHT || (qos === 0 && !this.session.connected)) return
    const nth = ++this.#count
    const text = `${this.name} ${nth}`
    const { user } = this.is
    const message = this.#world.log.published({ text, conversation, from: user, client: this.name, nth })
    const payload = named ? JSON.stringify({ text, clientMessageId: `${this.is.clientId}-${nth}` }) : text
    if (named && qos > 0) this.#last = { conversation, topic, payload, message }
    if (qos === 0) {
      this.#unanswered.push(message)
      this.#send(publishPacket(this.is.version, { topic, payload }))
    } else this.#hold({ message, topic, payload, qos, sent: false, released: false })
  }

  /** The last message with a clientMessageId once more, as something new to MQTT. */
  repeat(): void {
    const last = this.#last
    if (!last || this.#out.size >= MAX_IN_FLIGHT) return
    const { log } = this.#world
    const isIn = log.mayWrite(this.is.user, last.conversation)
    const { message } = last
    // What was refused before may be accepted now, in a later place.
    if (!message.logged) return
    Object.assign(message, message.open ? {} : { wasIn: isIn, wasOut: !isIn, open: true })
    this.#hold({ ...last, qos: 1, sent: false, released: false })
  }

  #hold(out: Outgoing): void {
    this.#ids = (this.#ids % 50_000) + 1
    this.#out.set(this.#ids, out)
    if (this.session.connected) this.#hand(this.#ids)
  }

  #hand(id: number): void {
    const out = this.#out.get(id)
    if (!out) return
    if (out.released) this.#send(ackPacket(this.is.version, PUBREL, id))
    else this.#send(publishPacket(this.is.version, { ...out, id, dup: out.sent }))
    out.sent = true
  }

  #acked(type: number, id: number, code: number): void {
    const out = this.#out.get(id)
    if (!out) {
      this.#world.wrong(`${this.name}: an acknowledgement of ${id}, which is nothing`)
      return
    }
    if (type === PUBREC && code < 0x80) {
      out.released = true
      this.#hand(id)
      return
    }
    if (type !== (out.qos === 1 ? PUBACK : code < 0x80 ? PUBCOMP : PUBREC))
      this.#world.wrong(`${this.name}: ${id} is acknowledged by a packet of type ${type}`)
    this.#out.delete(id)
    const { message } = out
    message.open = [...this.#out.values()].some(other => other.message === message)
    this.#judge(message, code)
  }

  #judge(message: Message, code: number): void {
    const { text, logged, wasIn, wasOut } = message
    const tells = this.is.version === 5
    if (code >= 0x80 && !logged && !message.open) message.refused = true
    if (code >= 0x80 ? !wasOut : tells && !logged) this.#world.wrong(`"${text}" has the answer ${code}`)
    // MQTT 3.1.1 has no other answer to one who may not write.
    if (!tells && !logged && !wasOut) this.#world.wrong(`"${text}" is acknowledged and not there`)
    if (code < 0x80 && wasIn && logged) this.#world.acknowledged()
  }

  /** Nothing is under way: everything has its answer. */
  quiet(): void {
    this.overtaken = false
    const { connected, frozen } = this.session
    if (!connected || frozen) return
    this.#abandoned = []
    for (const { message } of this.#out.values()) this.#world.wrong(`"${message.text}" has no answer`)
    for (const message of this.#unanswered.splice(0)) {
      message.open = false
      if (!message.logged && !message.wasOut) this.#world.wrong(`"${message.text}" of QoS 0 is lost`)
    }
  }

  // ---- receiving ----

  #came(type: number, flags: number, body: Buffer): void {
    const packet = decode(this.is.version, type, flags, body)
    if (packet.type === 'connack') {
      if (packet.code !== 0) this.#world.wrong(`${this.name}: CONNACK says ${packet.code}`)
      this.session.connack(packet.sessionPresent)
      for (const id of [...this.#out.keys()]) this.#hand(id)
    } else if (packet.type === 'suback') this.session.suback(packet.codes)
    else if (packet.type === 'unsuback') this.session.unsuback(packet.codes, this.is.version)
    else if (packet.type !== 'disconnect') this.#world.wrong(`${this.name}: ${packet.type} came`)
  }

  #received({ buffer, flags, id, topicStart, topicEnd, payloadStart, payloadEnd }: View): void {
    this.session.came({
      topic: buffer.toString('utf8', topicStart, topicEnd),
      qos: (flags >> 1) & 3,
      dup: (flags & 8) !== 0,
      id,
      payload: buffer.subarray(payloadStart, payloadEnd),
    })
  }

  subscribe(filter: string): void {
    if (!this.session.connected || this.session.asking) return
    this.session.subscribing(filter)
    this.#send(subscribePacket(this.is.version, this.#control(), [{ filter, qos: 1 }]))
  }
  unsubscribe(filter: string): void {
    if (!this.session.connected || this.session.asking) return
    this.session.unsubscribing(filter)
    this.#send(unsubscribePacket(this.is.version, this.#control(), [filter]))
  }
  #control(): number {
    this.#controls = (this.#controls + 1) % 5_000
    return CONTROL_ID + this.#controls
  }

  /** Acknowledges one of what it has received, in any order. */
  acknowledge(nth: number): void {
    const ids = [...this.session.here.keys()]
    const id = ids[nth % Math.max(1, ids.length)]
    if (id === undefined) return
    this.session.acknowledges(id)
    this.#send(ackPacket(this.is.version, PUBACK, id))
  }
  acknowledgeAll(): void {
    while (this.session.here.size > 0) this.acknowledge(0)
  }

  #send(bytes: Uint8Array): void {
    this.#wire?.write(bytes)
    this.#wire?.flush()
  }
}
