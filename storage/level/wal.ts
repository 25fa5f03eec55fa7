/**
 * Looks through LevelDB's write-ahead log before LevelDB does: at a damaged record it drops the rest of the block in
 * silence, and where that is the last block, the chain of commits has nothing behind the hole to tell of it.
 * Format: doc/log_format.md of LevelDB. Blocks of 32 KiB; a record is masked CRC-32C of type and payload (4 bytes),
 * length (2), type (1), payload; little endian.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isMasked, nextWhole } from './logfile.ts'
import { Damaged } from './meta.ts'

const BLOCK = 32_768
const HEADER = 7

/** The end of a log that is not whole: most likely cut off while it was written, and then never acknowledged. */
export interface Torn {
  file: string
  /** First byte that cannot be read. */
  at: number
}

/** @throws Damaged: something damaged lies before something whole. */
export async function checkLogs(directory: string): Promise<Torn[]> {
  const torn: Torn[] = []
  const files = await readdir(directory).catch(() => [])
  for (const name of files.filter(name => name.endsWith('.log')).sort()) {
    const file = join(directory, name)
    const at = firstFlaw(await readFile(file), file)
    if (at !== undefined) torn.push({ file, at })
  }
  return torn
}

function firstFlaw(bytes: Buffer, file: string): number | undefined {
  let flaw: number | undefined
  let at = 0
  while (at + HEADER <= bytes.length) {
    const blockEnd = at - (at % BLOCK) + BLOCK
    if (blockEnd - at < HEADER) {
      at = blockEnd
      continue
    }
    const end = at + HEADER + bytes.readUInt16LE(at + 4)
    if (isWhole(bytes, at, end)) {
      if (flaw !== undefined)
        throw new Damaged(`The database's log ${file} is damaged at byte ${flaw}, and goes on at byte ${at}.`)
      at = end
      continue
    }
    flaw ??= at
    at = nextWhole(bytes, at)
  }
  return flaw ?? (at < bytes.length ? at : undefined)
}

function isWhole(bytes: Buffer, at: number, end: number): boolean {
  const blockEnd = at - (at % BLOCK) + BLOCK
  const type = bytes[at + 6] ?? 0
  if (type < 1 || type > 4 || end > blockEnd || end > bytes.length) return false
  return isMasked(bytes.readUInt32LE(at), bytes.subarray(at + 6, end))
}
