/**
 * A wire client that is told line by line: it sends what a test says and keeps every packet that comes, in order.
 *
 *   const bob = await Script.connect({ port }, 5, { clientId: 'b', username: 'bob', password: key, clean: false })
 *   await bob.subscribe('im/u/bob/inbox')
 *   const { payload, id, dup } = await bob.next('publish')
 *   await bob.publish({ topic: 'im/u/alice/send', payload: 'hello', qos: 1, id: 7 })
 */
import type { Duplex } from 'node:stream'
import {
  ackPacket,
  type Connect,
  connectPacket,
  decode,
  disconnectPacket,
  type Filter,
  type Packet,
  PUBREL,
  type Publish,
  pingPacket,
  publishPacket,
  subscribePacket,
  TYPES,
  unsubscribePacket,
  type Version,
} from './packets.ts'
import type { Properties } from './properties.ts'
import { type Address, Wire } from './wire.ts'

export type PacketOf<T extends Packet['type']> = Packet & { type: T }
interface Waiting {
  wanted: (packet: Packet) => boolean
  take: (packet: Packet) => void
  fail: (error: Error) => void
}

/** What has not come by then does not come: a wait for ever would hide which it was. */
const NEVER_MS = 120_000

export class Script {
  readonly wire: Wire
  /** Everything that came, in order, taken or not. */
  readonly packets: Packet[] = []
  /** Resolves when the connection is closed by either side. */
  readonly closed: Promise<void>
  #untaken: Packet[] = []
  #waiting: Waiting[] = []
  #ids = 0

  /** Opens the connection and sends nothing. */
  constructor(to: Address | Duplex, version: Version) {
    const { promise, resolve } = withResolvers<void>()
    this.closed = promise
    this.wire = new Wire(to, version, {
      packet: (type, flags, body) => this.#came(decode(version, type, flags, body)),
      publish: view => {
        // Decoded from its body once more: a test reads topic, properties and payload as they are.
        const start = view.topicStart - 2
        this.#came(decode(version, 3, view.flags, view.buffer.subarray(start, view.payloadEnd)))
      },
      ack: (type, _id, _code, body) => this.#came(decode(version, type, 0, body)),
      closed: () => {
        resolve()
        for (const { fail } of this.#waiting.splice(0)) fail(new Error('the server closed the connection'))
      },
    })
  }

  /** Opens a connection and waits for a CONNACK that accepts. @throws Error with `code`, the reason it refuses with. */
  static async connect(to: Address | Duplex, version: Version, options: Connect): Promise<Script> {
    const script = new Script(to, version)
    const { code } = await script.connect(options)
    if (code === 0) return script
    script.wire.destroy()
    throw Object.assign(new Error(`CONNECT is refused with 0x${code.toString(16)}`), { code })
  }

  #came(packet: Packet): void {
    this.packets.push(packet)
    const at = this.#waiting.findIndex(({ wanted }) => wanted(packet))
    if (at === -1) this.#untaken.push(packet)
    else this.#waiting.splice(at, 1)[0]?.take(packet)
  }

  /** Takes the first packet of the type that was not taken before; waits for it where there is none, two minutes at most. */
  next<T extends Packet['type']>(type: T, also: (packet: PacketOf<T>) => boolean = () => true): Promise<PacketOf<T>> {
    const wanted = (packet: Packet) => packet.type === type && also(packet as PacketOf<T>)
    const at = this.#untaken.findIndex(wanted)
    if (at !== -1) return Promise.resolve(this.#untaken.splice(at, 1)[0] as PacketOf<T>)
    if (this.wire.closed) return Promise.reject(new Error('the server closed the connection'))
    const { promise, resolve, reject } = withResolvers<PacketOf<T>>()
    const waiting = { wanted, take: (packet: Packet) => resolve(packet as PacketOf<T>), fail: reject }
    this.#waiting.push(waiting)
    const timer = setTimeout(() => {
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
      reject(new Error(`no ${type} came within ${NEVER_MS / 1000} s`))
    }, NEVER_MS)
    return promise.finally(() => clearTimeout(timer))
  }

  /** Packets of a type that came and were not taken. */
  untaken<T extends Packet['type']>(type: T): PacketOf<T>[] {
    return this.#untaken.filter((packet): packet is PacketOf<T> => packet.type === type)
  }

  /** A packet id that this script has not given yet. */
  id(): number {
    this.#ids = (this.#ids % 65_535) + 1
    return this.#ids
  }

  send(bytes: Uint8Array): void {
    this.wire.write(bytes)
    this.wire.flush()
  }

  connect(options: Connect): Promise<PacketOf<'connack'>> {
    this.send(connectPacket(this.wire.version, options))
    return this.next('connack')
  }

  /** Resolves to the codes, one per filter. Filters are asked for at QoS 1 unless they say otherwise. */
  async subscribe(filters: string | Filter[], properties?: Properties): Promise<number[]> {
    const id = this.id()
    const list = typeof filters === 'string' ? [{ filter: filters }] : filters
    this.send(subscribePacket(this.wire.version, id, list, properties))
    return (await this.next('suback', packet => packet.id === id)).codes
  }

  async unsubscribe(...filters: string[]): Promise<number[]> {
    const id = this.id()
    this.send(unsubscribePacket(this.wire.version, id, filters))
    return (await this.next('unsuback', packet => packet.id === id)).codes
  }

  /** Sends a PUBLISH and goes through its handshake; resolves to the PUBACK, PUBREC that refuses, or PUBCOMP. */
  async publish(options: Publish): Promise<PacketOf<'puback' | 'pubrec' | 'pubcomp'> | undefined> {
    const { qos = 0 } = options
    const id = options.id ?? this.id()
    this.send(publishPacket(this.wire.version, { ...options, id }))
    if (qos === 0) return undefined
    if (qos === 1) return this.next('puback', packet => packet.id === id)
    const received = await this.next('pubrec', packet => packet.id === id)
    if (received.code >= 0x80) return received
    this.send(ackPacket(this.wire.version, PUBREL, id))
    return this.next('pubcomp', packet => packet.id === id)
  }

  /** PUBACK, PUBREC, PUBREL or PUBCOMP, with a reason code where MQTT 5 is spoken. */
  ack(type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp', id: number, code = 0): void {
    this.send(ackPacket(this.wire.version, TYPES.indexOf(type), id, code))
  }

  async ping(): Promise<void> {
    this.send(pingPacket())
    await this.next('pingresp')
  }

  /** Says DISCONNECT and waits for the end of the connection. */
  async disconnect(code = 0, properties?: Properties): Promise<void> {
    this.send(disconnectPacket(this.wire.version, code, properties))
    this.wire.stream.end()
    await this.closed
  }

  /** Cuts the line without DISCONNECT. */
  async cut(): Promise<void> {
    this.wire.destroy()
    await this.closed
  }
}

function withResolvers<T>() {
  let resolve: (value: T) => void = () => {}
  let reject: (error: Error) => void = () => {}
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
