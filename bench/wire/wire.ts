/**
 * A lean MQTT 3.1.1/5 client on a raw stream, for load and for tests of the protocol. It does nothing by itself but read
 * packets, acknowledge (unless told not to) and gather what is written within a turn of the loop into one write.
 */
import { connect as dial, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, type Version } from './packets.ts'

/** A PUBLISH where it lies in the read buffer. One object for all: use it within the call, keep nothing of it. */
export interface View {
  buffer: Buffer
  flags: number
  topicStart: number
  topicEnd: number
  /** 0 at QoS 0. */
  id: number
  payloadStart: number
  payloadEnd: number
}

export interface Ears {
  /** Every packet but PUBLISH and the four acknowledgements, its body copied. */
  packet?(type: number, flags: number, body: Buffer): void
  publish?(view: View): void
  /** PUBACK, PUBREC, PUBREL, PUBCOMP; `code` is 0 unless MQTT 5 says otherwise. `body` as `View`: within the call. */
  ack?(type: number, id: number, code: number, body: Buffer): void
  closed?(): void
  /** Bytes that are no MQTT: the connection is destroyed after this. */
  broken?(error: Error): void
}

/** All sockets read into this buffer: a read is handled to its end before the next one. */
const READ = Buffer.allocUnsafeSlow(256 * 1024)
const view: View = { buffer: READ, flags: 0, topicStart: 0, topicEnd: 0, id: 0, payloadStart: 0, payloadEnd: 0 }
const CHUNK = 4096

// Connections with something to write in this turn.
let dirty: Wire[] = []
function flushAll(): void {
  const list = dirty
  dirty = []
  for (const wire of list) wire.flush()
}

export interface Address {
  port: number
  host?: string
  /** Source address. */
  from?: string
}

export class Wire {
  readonly stream: Duplex
  readonly version: Version
  ears: Ears
  /** Whether deliveries (QoS 1 and 2) and PUBREL are acknowledged at once. */
  acknowledges = true
  closed = false
  #out: Buffer = Buffer.allocUnsafe(0)
  #from = 0
  #to = 0
  #carry: Buffer | undefined

  constructor(to: Address | Duplex, version: Version, ears: Ears = {}) {
    this.version = version
    this.ears = ears
    this.stream = 'port' in to ? this.#dial(to) : to
    if (!('port' in to)) this.stream.on('data', (bytes: Buffer) => this.#bytes(bytes))
    this.stream.on('error', () => {})
    this.stream.on('close', () => {
      this.closed = true
      this.ears.closed?.()
    })
  }

  #dial({ port, host = '127.0.0.1', from }: Address): Socket {
    const read = (size: number, bytes: Uint8Array) => {
      this.#bytes((bytes as Buffer).subarray(0, size))
      return true
    }
    const onread = { buffer: READ, callback: read }
    return dial({ port, host, noDelay: true, onread, ...(from && { localAddress: from }) })
  }

  // ---- writing ----

  /** Whole packets, or any bytes: they leave in this order at the end of the turn. */
  write(bytes: Uint8Array): void {
    const at = this.#room(bytes.length)
    this.#out.set(bytes, at)
  }

  /** Room for `size` bytes of the next write, to be filled within this turn: where they begin in `buffer`. */
  reserve(size: number): { buffer: Buffer; at: number } {
    const at = this.#room(size)
    return { buffer: this.#out, at }
  }

  /** Acknowledges with success: PUBACK, PUBREC, PUBREL or PUBCOMP. */
  ack(type: number, id: number): void {
    const at = this.#room(4)
    const out = this.#out
    out[at] = (type << 4) | (type === PUBREL ? 2 : 0)
    out[at + 1] = 2
    out[at + 2] = id >> 8
    out[at + 3] = id & 255
  }

  #room(size: number): number {
    if (this.#from === this.#to) {
      if (dirty.length === 0) setImmediate(flushAll)
      dirty.push(this)
    }
    if (this.#to + size > this.#out.length) {
      // What was written lies in buffers that the socket may still hold, so a new one is taken, never the old one again.
      const waiting = this.#out.subarray(this.#from, this.#to)
      this.#out = Buffer.allocUnsafeSlow(Math.max(CHUNK, 2 * (waiting.length + size)))
      this.#out.set(waiting)
      this.#from = 0
      this.#to = waiting.length
    }
    const at = this.#to
    this.#to += size
    return at
  }

  /** Writes what was gathered now. */
  flush(): void {
    if (this.#from === this.#to) return
    const bytes = this.#out.subarray(this.#from, this.#to)
    this.#from = this.#to
    if (!this.closed) this.stream.write(bytes)
  }

  // ---- reading ----

  /** Takes no more bytes from the socket; what the server sends fills its buffers. */
  stopReading(): void {
    this.stream.pause()
  }

  readOn(): void {
    this.stream.resume()
  }

  /** Ends the connection at once, without DISCONNECT. */
  destroy(): void {
    this.stream.destroy()
  }

  #bytes(fresh: Buffer): void {
    try {
      const bytes = this.#carry ? Buffer.concat([this.#carry, fresh]) : fresh
      this.#carry = undefined
      const done = this.#packets(bytes)
      if (done < bytes.length) this.#carry = Buffer.from(bytes.subarray(done))
    } catch (error) {
      this.ears.broken?.(error as Error)
      this.destroy()
    }
  }

  /** Handles the whole packets in `bytes` and returns where they end. */
  #packets(bytes: Buffer): number {
    let start = 0
    while (start + 2 <= bytes.length) {
      let at = start + 1
      let length = 0
      let shift = 0
      let byte = 128
      while (byte > 127 && at < bytes.length) {
        if (shift > 21) throw new Error('a remaining length has more than four bytes')
        byte = bytes[at++] as number
        length |= (byte & 127) << shift
        shift += 7
      }
      if (byte > 127 || at + length > bytes.length) break
      this.#packet(bytes, bytes[start] as number, at, at + length)
      start = at + length
    }
    return start
  }

  #packet(bytes: Buffer, first: number, at: number, end: number): void {
    const type = first >> 4
    if (type === PUBLISH) this.#publish(bytes, first & 15, at, end)
    else if (type >= PUBACK && type <= PUBCOMP) this.#ack(bytes, type, at, end)
    else this.ears.packet?.(type, first & 15, Buffer.from(bytes.subarray(at, end)))
  }

  #publish(bytes: Buffer, flags: number, start: number, end: number): void {
    const qos = (flags >> 1) & 3
    let at = start + 2 + (((bytes[start] as number) << 8) | (bytes[start + 1] as number))
    view.buffer = bytes
    view.flags = flags
    view.topicStart = start + 2
    view.topicEnd = at
    view.id = qos > 0 ? ((bytes[at] as number) << 8) | (bytes[at + 1] as number) : 0
    if (qos > 0) at += 2
    if (this.version === 5) at = afterProperties(bytes, at)
    if (at > end) throw new Error('a PUBLISH ends within its header')
    view.payloadStart = at
    view.payloadEnd = end
    const { id } = view
    this.ears.publish?.(view)
    if (qos > 0 && this.acknowledges) this.ack(qos === 1 ? PUBACK : PUBREC, id)
  }

  #ack(bytes: Buffer, type: number, at: number, end: number): void {
    const id = ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
    this.ears.ack?.(type, id, end > at + 2 ? (bytes[at + 2] as number) : 0, bytes.subarray(at, end))
    if (type === PUBREL && this.acknowledges) this.ack(PUBCOMP, id)
  }
}

/** Where the properties that begin at `start` end. */
function afterProperties(bytes: Buffer, start: number): number {
  let at = start
  let length = 0
  let shift = 0
  let byte = 128
  while (byte > 127) {
    byte = bytes[at++] ?? 0
    length |= (byte & 127) << shift
    shift += 7
  }
  return at + length
}
