/** A stock MQTT client: it comes, goes, subscribes and acknowledges as it is told to, and tells the model what it sees. */
import {
  ackPacket,
  connectPacket,
  decode,
  disconnectPacket,
  PUBACK,
  subscribePacket,
  unsubscribePacket,
  type Version,
} from '../../bench/wire/packets.ts'
import { type View, Wire } from '../../bench/wire/wire.ts'
import type { Line } from '../simulation/network.ts'
import type { Wish } from './life.ts'
import type { Log } from './log.ts'
import { Outbox } from './outbox.ts'
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
/** Whether packets still arrive; a client that lost its connection in silence does not know. */
export type Loss = 'cut' | 'frozen' | 'taken over'

export const inbox = (user: string) => `im/u/${user}/inbox`
const CONTROL_ID = 60_000

export class Client {
  readonly is: ClientIs
  readonly session: SessionModel
  readonly outbox: Outbox
  readonly #world: World
  #wire: Wire | undefined
  #line: Line | undefined
  /** Left open for the server to end. */
  #abandoned: Line[] = []
  /** A CONNECT was given up before its answer: it may arrive behind the next one, and take its session over. */
  overtaken = false
  #controls = 0

  constructor(is: ClientIs, session: SessionModel, world: World) {
    this.is = is
    this.session = session
    this.#world = world
    this.outbox = new Outbox(is, this, world)
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
    return this.outbox.sending
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
      ack: (type, id, code) => this.#wire === wire && this.outbox.acked(type, id, code),
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
    this.send(
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
    if (!wire || !this.session.connected || this.session.frozen || this.sending) return
    const properties = expirySeconds === undefined ? undefined : { sessionExpiryInterval: expirySeconds }
    this.send(disconnectPacket(this.is.version, 0, properties))
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
    this.outbox.lost()
  }

  /** Nothing is under way: everything has its answer. */
  quiet(): void {
    this.overtaken = false
    const { connected, frozen } = this.session
    if (!connected || frozen) return
    this.#abandoned = []
    this.outbox.quiet()
  }

  // ---- receiving ----

  #came(type: number, flags: number, body: Buffer): void {
    const packet = decode(this.is.version, type, flags, body)
    if (packet.type === 'connack') {
      if (packet.code !== 0) this.#world.wrong(`${this.name}: CONNACK says ${packet.code}`)
      this.session.connack(packet.sessionPresent)
      this.outbox.resume()
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
    this.send(subscribePacket(this.is.version, this.#control(), [{ filter, qos: 1 }]))
  }
  unsubscribe(filter: string): void {
    if (!this.session.connected || this.session.asking) return
    this.session.unsubscribing(filter)
    this.send(unsubscribePacket(this.is.version, this.#control(), [filter]))
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
    this.send(ackPacket(this.is.version, PUBACK, id))
  }
  acknowledgeAll(): void {
    while (this.session.here.size > 0) this.acknowledge(0)
  }

  send(bytes: Uint8Array): void {
    this.#wire?.write(bytes)
    this.#wire?.flush()
  }
}
