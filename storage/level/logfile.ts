/**
 * Reads a file in the format of LevelDB's logs: doc/log_format.md of LevelDB. Blocks of 32 KiB; a record is masked CRC-32C
 * of type and payload (4 bytes), length (2), type (1), payload; little endian. A record that is parted over blocks comes
 * as first, middle and last ones.
 */
import { crc32c } from '@node-rs/crc32'
import { Damaged } from './meta.ts'

const BLOCK = 32_768
const HEADER = 7
const FULL = 1
const FIRST = 2
const LAST = 4

/**
 * What was written, record by record, and where the end begins that is not whole.
 * @throws Damaged: something damaged lies before something whole.
 */
export function readLog(bytes: Buffer, file: string): { records: Buffer[]; flaw: number | undefined } {
  const records: Buffer[] = []
  let parts: Buffer[] = []
  let flaw: number | undefined
  let at = 0
  while (at + HEADER <= bytes.length) {
    const blockEnd = endOfBlock(at)
    if (blockEnd - at < HEADER) at = blockEnd
    else if (isWholeAt(bytes, at)) {
      if (flaw !== undefined)
        throw new Damaged(`The database's log ${file} is damaged at byte ${flaw}, and goes on at byte ${at}.`)
      const end = endOf(bytes, at)
      const type = bytes[at + 6] as number
      if (type === FULL || type === FIRST) parts = []
      parts.push(bytes.subarray(at + HEADER, end))
      if (type === FULL || type === LAST) records.push(Buffer.concat(parts))
      at = end
    } else {
      flaw ??= at
      at = nextWhole(bytes, at)
    }
  }
  return { records, flaw: flaw ?? (at < bytes.length ? at : undefined) }
}

/** Whether the end that begins at a flaw was never written as a whole: LevelDB takes it for that only then. */
export function isCutOff(bytes: Buffer, flaw: number): boolean {
  const header = bytes.subarray(flaw, flaw + HEADER)
  if (header.length < HEADER || header.every(byte => byte === 0)) return true
  return bytes.length <= endOfBlock(flaw) && endOf(bytes, flaw) > bytes.length
}

/** Behind a flaw: the next record of the block, wherever it begins, as a damaged length says nothing; or the next block. */
export function nextWhole(bytes: Buffer, flaw: number): number {
  const blockEnd = endOfBlock(flaw)
  const last = Math.min(blockEnd, bytes.length) - HEADER
  for (let at = flaw + 1; at <= last; at++) if (isWholeAt(bytes, at)) return at
  return blockEnd
}

const endOfBlock = (at: number) => at - (at % BLOCK) + BLOCK
const endOf = (bytes: Buffer, at: number) => at + HEADER + bytes.readUInt16LE(at + 4)

export function isWholeAt(bytes: Buffer, at: number): boolean {
  const type = bytes[at + 6] ?? 0
  if (type < FULL || type > LAST || at + HEADER > bytes.length) return false
  const end = endOf(bytes, at)
  return end <= endOfBlock(at) && end <= bytes.length && isMasked(bytes.readUInt32LE(at), bytes.subarray(at + 6, end))
}

/** Whether a checksum as LevelDB writes it is that of the bytes. */
export function isMasked(stored: number, bytes: Buffer): boolean {
  const crc = crc32c(bytes)
  return stored === (((crc >>> 15) | (crc << 17)) + 0xa282_ead8) >>> 0
}
