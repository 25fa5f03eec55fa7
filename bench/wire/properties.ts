/** Properties of MQTT 5 packets: names, ids and how each is written [MQTT 5, 2.2.2]. */

type Kind = 'byte' | 'two' | 'four' | 'varint' | 'text' | 'bytes' | 'pair'

// biome-ignore format: a table, a row a line
const TABLE = {
  payloadFormatIndicator: [0x01, 'byte'],
  messageExpiryInterval: [0x02, 'four'],
  contentType: [0x03, 'text'],
  responseTopic: [0x08, 'text'],
  correlationData: [0x09, 'bytes'],
  subscriptionIdentifier: [0x0b, 'varint'],
  sessionExpiryInterval: [0x11, 'four'],
  assignedClientIdentifier: [0x12, 'text'],
  serverKeepAlive: [0x13, 'two'],
  authenticationMethod: [0x15, 'text'],
  authenticationData: [0x16, 'bytes'],
  requestProblemInformation: [0x17, 'byte'],
  willDelayInterval: [0x18, 'four'],
  requestResponseInformation: [0x19, 'byte'],
  responseInformation: [0x1a, 'text'],
  serverReference: [0x1c, 'text'],
  reasonString: [0x1f, 'text'],
  receiveMaximum: [0x21, 'two'],
  topicAliasMaximum: [0x22, 'two'],
  topicAlias: [0x23, 'two'],
  maximumQos: [0x24, 'byte'],
  retainAvailable: [0x25, 'byte'],
  userProperty: [0x26, 'pair'],
  maximumPacketSize: [0x27, 'four'],
  wildcardSubscriptionAvailable: [0x28, 'byte'],
  subscriptionIdentifiersAvailable: [0x29, 'byte'],
  sharedSubscriptionAvailable: [0x2a, 'byte'],
} as const satisfies Record<string, readonly [number, Kind]>

type Table = typeof TABLE
interface Values {
  byte: number
  two: number
  four: number
  varint: number
  text: string
  bytes: Uint8Array
  pair: readonly (readonly [string, string])[]
}
/** A subscription identifier that stands more than once in a PUBLISH is an array. */
export type Properties = { [K in Exclude<keyof Table, 'subscriptionIdentifier'>]?: Values[Table[K][1]] } & {
  subscriptionIdentifier?: number | number[]
}

const BY_ID = new Map<number, [name: string, kind: Kind]>(
  Object.entries(TABLE).map(([name, [id, kind]]) => [id, [name, kind]]),
)

export function varint(value: number): number[] {
  const out: number[] = []
  let rest = value
  do {
    out.push(rest > 127 ? (rest & 127) | 128 : rest)
    rest >>>= 7
  } while (rest > 0)
  return out
}

/** Two bytes of length, then the bytes. */
export function counted(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])
}

export function encodeProperties(properties: Properties = {}): Buffer {
  const parts: Uint8Array[] = []
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue
    const [id, kind] = TABLE[name as keyof Table]
    const several = kind === 'pair' || (Array.isArray(value) && kind === 'varint')
    for (const one of several ? (value as unknown[]) : [value]) parts.push(Buffer.from([id]), encodeValue(kind, one))
  }
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from(varint(body.length)), body])
}

function encodeValue(kind: Kind, value: unknown): Uint8Array {
  if (kind === 'text' || kind === 'bytes') return counted(value as string | Uint8Array)
  if (kind === 'pair') return Buffer.concat((value as [string, string]).map(counted))
  if (kind === 'varint') return Buffer.from(varint(value as number))
  const bytes = Buffer.alloc({ byte: 1, two: 2, four: 4 }[kind])
  bytes.writeUIntBE(value as number, 0, bytes.length)
  return bytes
}

/** Reads a packet's body from front to back; reading past its end throws. */
export class Cursor {
  readonly bytes: Buffer
  at = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  get left(): number {
    return this.bytes.length - this.at
  }

  uint(size: 1 | 2 | 4): number {
    const value = this.bytes.readUIntBE(this.at, size)
    this.at += size
    return value
  }

  varint(): number {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.uint(1)
      value |= (byte & 127) << shift
      if (byte < 128) return value
    }
    throw new Error('a variable byte integer has more than four bytes')
  }

  take(size: number): Buffer {
    if (size > this.left) throw new Error('a field ends past its packet')
    this.at += size
    return Buffer.from(this.bytes.subarray(this.at - size, this.at))
  }

  counted(): Buffer {
    return this.take(this.uint(2))
  }

  properties(): Properties {
    const end = this.varint() + this.at
    const found: Record<string, unknown> = {}
    while (this.at < end) {
      const id = this.varint()
      const row = BY_ID.get(id)
      if (!row) throw new Error(`there is no property 0x${id.toString(16)}`)
      add(found, row[0], this.#value(row[1]))
    }
    return found as Properties
  }

  #value(kind: Kind): unknown {
    if (kind === 'text') return this.counted().toString()
    if (kind === 'bytes') return this.counted()
    if (kind === 'pair') return [[this.counted().toString(), this.counted().toString()]]
    if (kind === 'varint') return this.varint()
    return this.uint(({ byte: 1, two: 2, four: 4 } as const)[kind])
  }
}

function add(found: Record<string, unknown>, name: string, value: unknown): void {
  found[name] = name in found ? [found[name], value].flat() : value
}
