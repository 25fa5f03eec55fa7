/**
 * How rows lie in the database. Keys are text, parts parted by U+0000, which no part contains, and sort by UTF-8 bytes:
 *
 *   e conversation ordinal(seq)                      an entry
 *   t conversation                                   the end of a conversation
 *   d conversation sender clientMessageId            where that message is
 *   r table partition key                            a record
 *   i table index partition sort (record's) partition key   where a record also stands
 *   o conversation                                   where the rows of removed entries begin, while they go; see trimming.ts
 *   b ordinal(number)                                a commit, see chain.ts
 *   m                                                what the database is, see meta.ts
 *   p                                                nothing; written to learn whether writes succeed
 *
 * A value begins with CRC-32C over key and value (4 bytes, little endian, zero while it is counted) and the version of its
 * format (1 byte).
 */
import { crc32c } from '@node-rs/crc32'
import type { ConversationKey } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { Sender, Seq } from '../../protocol/ids.ts'

export const FORMAT = 1
/** Bytes before the payload. */
export const HEAD = 5
const SEP = '\0'

/** Decimal after a letter that counts the digits: sorts as the number does, for any safe integer. */
export function ordinal(number: number): string {
  const digits = String(number)
  return String.fromCharCode(96 + digits.length) + digits
}

export const entryKey = (conversation: ConversationKey, seq: number) => `e\0${conversation}\0${ordinal(seq)}`
export const seqOf = (key: string) => Number(key.slice(key.lastIndexOf(SEP) + 2)) as Seq
export const trimKey = (conversation: ConversationKey) => `o\0${conversation}`
export const tailKey = (conversation: ConversationKey) => `t\0${conversation}`
export const dedupKey = (conversation: ConversationKey, from: Sender, clientMessageId: string) =>
  `d\0${conversation}\0${from}\0${clientMessageId}`
export const batchKey = (number: number) => `b\0${ordinal(number)}`
export const metaKey = 'm'
export const joinKey = (...parts: string[]) => parts.join(SEP)

/** A value with room for its head; the payload begins at `HEAD`. */
export const blank = (payloadBytes: number): Buffer => Buffer.allocUnsafe(HEAD + payloadBytes)

/** Fills in the head. */
export function seal(key: string, value: Buffer): Buffer {
  value.writeUInt32LE(0, 0)
  value[4] = FORMAT
  value.writeUInt32LE(checksum(key, value), 0)
  return value
}

export const isWhole = (key: string, value: Buffer): boolean => {
  try {
    return whole(key, value) === value
  } catch {
    return false
  }
}

/** The value, if it is whole. @throws Fault `log-unavailable` */
export function whole(key: string, value: Buffer): Buffer {
  if (value.length < HEAD) throw damaged(key, 'it is too short')
  const stored = value.readUInt32LE(0)
  value.writeUInt32LE(0, 0)
  const counted = checksum(key, value)
  value.writeUInt32LE(stored, 0)
  if (stored !== counted) throw damaged(key, 'its checksum does not fit')
  if (value[4] !== FORMAT) throw damaged(key, `its format is ${value[4]}, not ${FORMAT}`)
  return value
}

/** Never a shorter answer: whoever needed the row gets this instead. */
export const damaged = (key: string, what: string) =>
  new Fault('log-unavailable', {}, { cause: new Error(`Row ${JSON.stringify(key)} is damaged: ${what}.`) })

/** Below this many bytes a call into native code costs more than it saves. */
const NATIVE_FROM = 128

function checksum(key: string, value: Buffer): number {
  const seed = crcOfText(key)
  if (value.length >= NATIVE_FROM) return crc32c(value, seed)
  let crc = ~seed
  for (let at = 0; at < value.length; at++) crc = (STEPS[(crc ^ (value[at] as number)) & 255] as number) ^ (crc >>> 8)
  return ~crc >>> 0
}

function crcOfText(text: string): number {
  let crc = -1
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code > 127) return crc32c(text)
    crc = (STEPS[(crc ^ code) & 255] as number) ^ (crc >>> 8)
  }
  return ~crc >>> 0
}

const STEPS = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1
  return crc
})
