/** The bytes of the packets that the server writes itself, for MQTT 3.1.1 and 5, and one write per socket and loop turn. */
import type { Writable } from 'node:stream'
import type { Fault } from '../protocol/faults.ts'

export interface OutboundPublish {
  topic: Buffer
  payload: Uint8Array
  qos: 0 | 1
  /** Of QoS 1. */
  packetId: number
  dup: boolean
  retain: boolean
  /** MQTT 5: of every filter that takes the topic [MQTT-3.3.4-3]. */
  subscriptionIds?: readonly number[] | undefined
  /** MQTT 5: handed back as the request gave it [MQTT-3.3.2-16]. */
  correlationData?: Uint8Array | undefined
}

const SUBSCRIPTION_ID = 0x0b
const CORRELATION_DATA = 0x09
const REASON_STRING = 0x1f

/** From here on the payload is written beside the head instead of being copied: it is shared by all receivers. */
const COPY_BELOW_BYTES = 8 * 1024

/** Bytes of a PUBLISH on the wire, fixed header included. */
export function publishSize(packet: OutboundPublish, version: number): number {
  const remaining = remainingOf(packet, version === 5 ? propertiesSize(packet) : -1)
  return 1 + lengthOfInt(remaining) + remaining
}

/** Writes a PUBLISH; the socket sends it with whatever else is written in this loop turn. */
export function writePublish(stream: Writable, packet: OutboundPublish, version: number): void {
  const { topic, payload } = packet
  const properties = version === 5 ? propertiesSize(packet) : -1
  const remaining = remainingOf(packet, properties)
  const copied = payload.length < COPY_BELOW_BYTES
  const size = 1 + lengthOfInt(remaining) + remaining - (copied ? 0 : payload.length)
  const bytes = Buffer.allocUnsafe(size)
  bytes[0] = 0x30 | (packet.dup ? 8 : 0) | (packet.qos << 1) | (packet.retain ? 1 : 0)
  let at = putInt(bytes, 1, remaining)
  at = bytes.writeUInt16BE(topic.length, at)
  bytes.set(topic, at)
  at += topic.length
  if (packet.qos > 0) at = bytes.writeUInt16BE(packet.packetId, at)
  if (properties >= 0) at = putProperties(bytes, at, properties, packet)
  if (copied) bytes.set(payload, at)
  cork(stream)
  stream.write(bytes)
  if (!copied) stream.write(payload)
}

function remainingOf(packet: OutboundPublish, properties: number): number {
  const head = 2 + packet.topic.length + (packet.qos > 0 ? 2 : 0)
  return head + (properties >= 0 ? lengthOfInt(properties) + properties : 0) + packet.payload.length
}

function propertiesSize({ subscriptionIds, correlationData }: OutboundPublish): number {
  let size = 0
  if (subscriptionIds) for (const id of subscriptionIds) size += 1 + lengthOfInt(id)
  if (correlationData) size += 3 + correlationData.length
  return size
}

function putProperties(bytes: Buffer, start: number, size: number, packet: OutboundPublish): number {
  let at = putInt(bytes, start, size)
  if (packet.subscriptionIds) {
    for (const id of packet.subscriptionIds) {
      bytes[at] = SUBSCRIPTION_ID
      at = putInt(bytes, at + 1, id)
    }
  }
  if (packet.correlationData) {
    bytes[at] = CORRELATION_DATA
    at = bytes.writeUInt16BE(packet.correlationData.length, at + 1)
    bytes.set(packet.correlationData, at)
    at += packet.correlationData.length
  }
  return at
}

/** CONNACK that refuses: return code (3.1.1) or reason code and string (5). Session Present is 0 [MQTT-3.2.2-6]. */
export function connack(code: number, says: string | undefined, version: number): Buffer {
  return version === 5 ? packet5(0x20, Buffer.from([0, code]), says) : Buffer.from([0x20, 2, 0, code])
}

/** Bytes of a packet around its reason, at most. */
const AROUND_REASON = 16
/** Characters of what is said about one field. */
const MAX_NAMED = 512

/** The reason string of a refusal, with the first field that is wrong; left out where the packet would be too large for the client [MQTT-3.4.2-2, MQTT-3.14.2-3]. */
export function reasonFor({ code, message, details }: Fault, maxPacketBytes: number | undefined): string | undefined {
  const [issue] = (details.issues ?? []) as { path: string[]; message: string }[]
  // A name that a client made up may hold what a string of MQTT may not [MQTT-1.5.4-1, MQTT-1.5.4-2].
  const named =
    issue && [...issue.path, issue.message].join(': ').replace(/\p{C}/gu, '').slice(0, MAX_NAMED).toWellFormed()
  return [...(named ? [`${code}: ${named}`] : []), `${code}: ${message}`].find(
    reason => maxPacketBytes === undefined || AROUND_REASON + Buffer.byteLength(reason) <= maxPacketBytes,
  )
}

const PUBACK = 0x40
const PUBREC = 0x50

/** PUBACK or PUBREC of MQTT 5 that refuses. The reason is left out for a client that asked for none [MQTT-3.1.2-29]. */
export function refusingAck(qos: 1 | 2, packetId: number, code: number, says: string | undefined): Buffer {
  return packet5(qos === 1 ? PUBACK : PUBREC, Buffer.from([packetId >> 8, packetId & 0xff, code]), says)
}

/** SUBACK or UNSUBACK: one code per filter, in order [MQTT-3.8.4-5, MQTT-3.11.3-1]. UNSUBACK of 3.1.1 has no codes. */
export function subscriptionAck(
  type: 'suback' | 'unsuback',
  packetId: number,
  codes: readonly number[],
  version: number,
) {
  const head = [packetId >> 8, packetId & 0xff, ...(version === 5 ? [0] : [])]
  const body = Buffer.from([...head, ...(type === 'suback' || version === 5 ? codes : [])])
  return packet(type === 'suback' ? 0x90 : 0xb0, body)
}

function packet5(type: number, head: Buffer, reason: string | undefined): Buffer {
  const text = Buffer.from(reason ?? '')
  if (text.length === 0) return packet(type, Buffer.concat([head, Buffer.from([0])]))
  const properties = Buffer.alloc(3 + text.length)
  properties[0] = REASON_STRING
  properties.writeUInt16BE(text.length, 1)
  text.copy(properties, 3)
  const length = Buffer.alloc(lengthOfInt(properties.length))
  putInt(length, 0, properties.length)
  return packet(type, Buffer.concat([head, length, properties]))
}

function packet(type: number, body: Buffer): Buffer {
  const head = Buffer.alloc(1 + lengthOfInt(body.length))
  head[0] = type
  putInt(head, 1, body.length)
  return Buffer.concat([head, body])
}

/** Variable Byte Integer (MQTT 5, 1.5.5). */
function putInt(bytes: Buffer, start: number, value: number): number {
  let at = start
  let rest = value
  do {
    const digit = rest & 127
    rest >>>= 7
    bytes[at++] = rest > 0 ? digit | 128 : digit
  } while (rest > 0)
  return at
}
const lengthOfInt = (value: number) => (value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4)

// ---- one write per socket and loop turn ----

let corked = new Set<Writable>()

/** Holds what is written to the stream until the end of this loop turn: system calls are what costs most. */
export function cork(stream: Writable): void {
  if (corked.has(stream)) return
  if (corked.size === 0) setImmediate(uncorkAll)
  corked.add(stream)
  stream.cork()
}

function uncorkAll(): void {
  const streams = corked
  corked = new Set()
  for (const stream of streams) stream.uncork()
}
