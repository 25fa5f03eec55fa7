/**
 * Looks through LevelDB's tables before LevelDB does, which reads blocks without looking at their checksums: a flipped bit
 * of a directory, filter or key makes a row absent, one of a sequence number brings an older row back, and merging writes
 * either into a new table that is whole. Format: doc/table_format.md of LevelDB.
 *
 *   data blocks · filter block · block that names the filter · directory of the data blocks · footer
 *
 * Each block is followed by its compression (1 byte) and the masked CRC-32C of both (4). They lie without gaps, so that
 * there is no byte between them that nothing vouches for.
 */
import { open } from 'node:fs/promises'
import { isMasked } from './logfile.ts'
import { Damaged } from './meta.ts'
import { decompress } from './snappy.ts'
import { Reader } from './varint.ts'

const FOOTER = 48
const MAGIC = 0xdb47_7524_8b80_fb57n
const TRAILER = 5
/** Tables read at once: while one is counted, the next ones come from disk. */
const AT_ONCE = 3

interface Table {
  file: string
  bytes: number
}

/** Every block of every table; `told` of each damaged one. */
export async function checkTables(tables: readonly Table[], told: (damaged: Damaged) => void): Promise<void> {
  const rest = [...tables].sort((a, b) => (a.file < b.file ? 1 : -1))
  const check = async () => {
    let buffer = Buffer.alloc(0)
    for (let table = rest.pop(); table; table = rest.pop()) {
      if (buffer.length < table.bytes) buffer = Buffer.allocUnsafe(table.bytes)
      await checkTable(table, buffer.subarray(0, table.bytes), told)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, check))
}

async function checkTable({ file }: Table, buffer: Buffer, told: (damaged: Damaged) => void): Promise<void> {
  const tell = (flaw: string) => told(new Damaged(`The database's file ${file} is damaged: ${flaw}.`))
  try {
    await load(file, buffer)
    for (const flaw of flaws(buffer)) tell(flaw)
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown
    tell(thrown.message)
  }
}

/** @throws RangeError: it cannot be read, or has another length. */
async function load(file: string, buffer: Buffer): Promise<void> {
  let bytes: number
  try {
    await using handle = await open(file)
    bytes = (await handle.stat()).size
    if (bytes === buffer.length) bytes = (await handle.read(buffer, 0, buffer.length, 0)).bytesRead
  } catch (cause) {
    throw new RangeError(`it cannot be read (${cause instanceof Error ? cause.message : cause})`)
  }
  if (bytes !== buffer.length) throw new RangeError(`it has ${bytes} of ${buffer.length} bytes`)
}

/** A sentence for each. @throws RangeError: one that leaves nothing more to look at. */
function* flaws(table: Buffer): Generator<string> {
  const end = table.length - FOOTER
  if (end < 0) throw new RangeError('it is too short')
  if (table.readBigUInt64LE(table.length - 8) !== MAGIC) throw new RangeError('its footer is not one')
  const footer = new Reader(table.subarray(0, table.length - 8), end)
  const names = { at: footer.number(), bytes: footer.number() }
  const directory = { at: footer.number(), bytes: footer.number() }
  if (directory.at + directory.bytes + TRAILER !== end) throw new RangeError('its footer names a wrong directory')
  if (names.at + names.bytes + TRAILER !== directory.at) throw new RangeError('its footer names wrong blocks')
  for (const { at, bytes } of [names, directory])
    if (!isWhole(table, at, bytes)) throw new RangeError(`its directory, at byte ${at}, does not fit its checksum`)
  let next = 0
  let before: Buffer | undefined
  for (const { at, bytes, key } of entries(contents(table, directory))) {
    if (at !== next || at + bytes + TRAILER > names.at) throw new RangeError(`its directory has a gap at byte ${next}`)
    if (!isWhole(table, at, bytes)) yield `the block at byte ${at} does not fit its checksum${between(before, key)}`
    next = at + bytes + TRAILER
    before = key
  }
  const filter = names.at - next - TRAILER
  if (next !== names.at && (filter < 0 || !isWhole(table, next, filter)))
    yield `its filter, at byte ${next}, does not fit its checksum`
}

const isWhole = (table: Buffer, at: number, bytes: number) =>
  isMasked(table.readUInt32LE(at + bytes + 1), table.subarray(at, at + bytes + 1))

function contents(table: Buffer, { at, bytes }: { at: number; bytes: number }): Buffer {
  const block = table.subarray(at, at + bytes)
  return table[at + bytes] === 0 ? block : decompress(block)
}

/** Of a directory: the last key of each data block, or one behind it and before the next, and where the block lies. */
function* entries(block: Buffer): Generator<{ at: number; bytes: number; key: Buffer }> {
  const restarts = block.readUInt32LE(block.length - 4)
  const input = new Reader(block.subarray(0, block.length - 4 - 4 * restarts))
  let key: Buffer = Buffer.alloc(0)
  while (!input.atEnd) {
    const shared = input.number()
    const own = input.number()
    const value = input.number()
    key = Buffer.concat([key.subarray(0, shared), input.bytes(own)])
    const place = new Reader(input.bytes(value))
    yield { at: place.number(), bytes: place.number(), key }
  }
}

/** Which rows a block holds, as far as its neighbours tell. A key ends in 8 bytes of LevelDB's own. */
function between(before: Buffer | undefined, last: Buffer): string {
  const shown = (key: Buffer) => JSON.stringify(key.subarray(0, -8).toString())
  return ` (rows ${before ? `behind ${shown(before)} ` : ''}up to ${shown(last)})`
}
