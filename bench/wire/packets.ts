/** Packets of MQTT 3.1.1 and 5: written to bytes by hand, and read back into objects. */
import { Cursor, counted, encodeProperties, type Properties, varint } from './properties.ts'

/** 4 is MQTT 3.1.1. */
export type Version = 4 | 5
export type Qos = 0 | 1 | 2

// biome-ignore format: a table
export const TYPES = [
  'reserved', 'connect', 'connack', 'publish', 'puback', 'pubrec', 'pubrel', 'pubcomp',
  'subscribe', 'suback', 'unsubscribe', 'unsuback', 'pingreq', 'pingresp', 'disconnect', 'auth',
] as const
type TypeName = (typeof TYPES)[number]
export const PUBLISH = 3
export const PUBACK = 4
export const PUBREC = 5
export const PUBREL = 6
export const PUBCOMP = 7

/** A whole packet from its first byte, its body and its length. */
export function packet(type: TypeName, flags: number, ...body: Uint8Array[]): Buffer {
  const length = body.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([Buffer.from([(TYPES.indexOf(type) << 4) | flags, ...varint(length)]), ...body])
}

const two = (value: number) => Buffer.from([value >> 8, value & 255])
const props = (version: Version, properties?: Properties) =>
  version === 5 ? encodeProperties(properties) : Buffer.alloc(0)

export interface Connect {
  clientId: string
  username?: string
  password?: string
  /** Clean Session, Clean Start; true unless given. */
  clean?: boolean
  /** Seconds; 0, none, unless given. */
  keepAlive?: number
  will?: { topic: string; payload: string | Uint8Array; qos?: Qos; retain?: boolean; properties?: Properties }
  properties?: Properties
}
export function connectPacket(version: Version, options: Connect): Buffer {
  const { clientId, username, password, clean = true, keepAlive = 0, will } = options
  const flags =
    (clean ? 2 : 0) |
    (will ? 4 | ((will.qos ?? 0) << 3) | (will.retain ? 32 : 0) : 0) |
    (password === undefined ? 0 : 64) |
    (username === undefined ? 0 : 128)
  const body = [counted('MQTT'), Buffer.from([version, flags]), two(keepAlive), props(version, options.properties)]
  body.push(counted(clientId))
  if (will) body.push(props(version, will.properties), counted(will.topic), counted(will.payload))
  if (username !== undefined) body.push(counted(username))
  if (password !== undefined) body.push(counted(password))
  return packet('connect', 0, ...body)
}

export interface Publish {
  topic: string
  payload: string | Uint8Array
  qos?: Qos
  /** Packet id; needed above QoS 0. */
  id?: number
  dup?: boolean
  retain?: boolean
  properties?: Properties
}
export function publishPacket(version: Version, options: Publish): Buffer {
  const { topic, payload, qos = 0, id = 0, dup, retain, properties } = options
  const flags = (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0)
  const head = [counted(topic), qos > 0 ? two(id) : Buffer.alloc(0), props(version, properties)]
  return packet('publish', flags, ...head, Buffer.from(payload as string))
}

export interface Filter {
  filter: string
  qos?: Qos
  /** No Local, Retain As Published and Retain Handling of MQTT 5, as they stand in the options byte (0x04 to 0x3c). */
  options?: number
}
export function subscribePacket(version: Version, id: number, filters: Filter[], properties?: Properties): Buffer {
  const list = filters.flatMap(({ filter, qos = 1, options = 0 }) => [counted(filter), Buffer.from([qos | options])])
  return packet('subscribe', 2, two(id), props(version, properties), ...list)
}
export function unsubscribePacket(version: Version, id: number, filters: string[]): Buffer {
  return packet('unsubscribe', 2, two(id), props(version), ...filters.map(counted))
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP. */
export function ackPacket(version: Version, type: number, id: number, code = 0, properties?: Properties): Buffer {
  const more = version === 5 && (code !== 0 || properties)
  const tail = more ? Buffer.concat([Buffer.from([code]), encodeProperties(properties)]) : Buffer.alloc(0)
  return packet(TYPES[type] as TypeName, type === PUBREL ? 2 : 0, two(id), tail)
}
export function disconnectPacket(version: Version, code = 0, properties?: Properties): Buffer {
  if (version === 4 || (code === 0 && !properties)) return packet('disconnect', 0)
  return packet('disconnect', 0, Buffer.from([code]), encodeProperties(properties))
}
export const pingPacket = () => packet('pingreq', 0)

// ---- reading ----

export interface Delivered {
  type: 'publish'
  topic: string
  payload: Buffer
  qos: Qos
  dup: boolean
  retain: boolean
  /** 0 at QoS 0. */
  id: number
  properties: Properties
}
export type Packet =
  | { type: 'connack'; sessionPresent: boolean; code: number; properties: Properties }
  | Delivered
  | { type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp'; id: number; code: number; properties: Properties }
  | { type: 'suback' | 'unsuback'; id: number; codes: number[]; properties: Properties }
  | { type: 'pingresp' }
  | { type: 'disconnect' | 'auth'; code: number; properties: Properties }

/** Reads one packet that a server may send. @throws Error for anything else. */
export function decode(version: Version, type: number, flags: number, body: Buffer): Packet {
  const at = new Cursor(body)
  const name = TYPES[type] as TypeName
  const properties = () => (version === 5 && at.left > 0 ? at.properties() : {})
  switch (name) {
    case 'connack':
      return { type: name, sessionPresent: at.uint(1) === 1, code: at.uint(1), properties: properties() }
    case 'publish':
      return delivered(at, flags, properties)
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      return { type: name, id: at.uint(2), code: at.left > 0 ? at.uint(1) : 0, properties: properties() }
    case 'suback':
    case 'unsuback':
      return { type: name, id: at.uint(2), properties: properties(), codes: [...at.take(at.left)] }
    case 'pingresp':
      return { type: name }
    case 'disconnect':
    case 'auth':
      return { type: name, code: at.left > 0 ? at.uint(1) : 0, properties: properties() }
    default:
      throw new Error(`a server does not send ${name}`)
  }
}

function delivered(at: Cursor, flags: number, properties: () => Properties): Delivered {
  const qos = ((flags >> 1) & 3) as Qos
  const topic = at.counted().toString()
  const id = qos > 0 ? at.uint(2) : 0
  const found = properties()
  const payload = at.take(at.left)
  return {
    type: 'publish',
    topic,
    payload,
    qos,
    dup: (flags & 8) !== 0,
    retain: (flags & 1) !== 0,
    id,
    properties: found,
  }
}
