/** Takes Snappy's compression off a block, so that the directory of a table can be read. Format: format_description.txt. */
import { Reader } from './varint.ts'

/** A block of a table is some KiB; more is not one. */
const MAX_BYTES = 64 * 1024 * 1024

/** @throws RangeError: not what Snappy writes. */
export function decompress(bytes: Buffer): Buffer {
  const input = new Reader(bytes)
  const length = input.number()
  if (length > MAX_BYTES) throw new RangeError('it would be too large')
  const output = Buffer.alloc(length)
  let end = 0
  while (!input.atEnd) {
    const tag = input.bytes(1).readUInt8()
    if ((tag & 3) === 0) {
      const literal = input.bytes(literalLength(tag, input))
      if (end + literal.length > length) throw new RangeError('it is longer than it says')
      output.set(literal, end)
      end += literal.length
    } else end = copy(output, end, tag, input)
  }
  if (end !== length) throw new RangeError('it is shorter than it says')
  return output
}

function literalLength(tag: number, input: Reader): number {
  const code = tag >>> 2
  if (code < 60) return code + 1
  return input.bytes(code - 59).readUIntLE(0, code - 59) + 1
}

/** Repeats what was written before; the two may overlap, so it goes byte by byte. */
function copy(output: Buffer, end: number, tag: number, input: Reader): number {
  const short = (tag & 3) === 1
  const count = short ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1
  const width = (tag & 3) === 2 ? 2 : 4
  const back = short ? ((tag >>> 5) << 8) | input.bytes(1).readUInt8() : input.bytes(width).readUIntLE(0, width)
  if (back === 0 || back > end || end + count > output.length) throw new RangeError('it refers to nothing')
  for (let at = end; at < end + count; at++) output[at] = output[at - back] as number
  return end + count
}
