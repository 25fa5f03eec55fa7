/**
 * Looks through LevelDB's write-ahead log before LevelDB does: at a damaged record it drops the rest of the block in
 * silence, and where that is the last block, the chain of commits has nothing behind the hole to tell of it.
 *
 * A flaw alone is no damage: a power cut leaves what was not synced in any state, with whole records behind missing ones.
 * It is damage if something behind it says that a commit was durable which is not before it.
 *
 * Format: doc/log_format.md of LevelDB. Blocks of 32 KiB; a record is masked CRC-32C of type and payload (4 bytes),
 * length (2), type (1), payload; little endian. A commit is one record, or several of different types.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { linkAtEnd } from './chain.ts'
import { isWholeAt, nextWhole } from './logfile.ts'
import { Damaged } from './meta.ts'

const BLOCK = 32_768
const HEADER = 7
const FULL = 1
const FIRST = 2
const LAST = 4

/** The end of a log that is not whole: most likely cut off while it was written, and then never acknowledged. */
export interface Torn {
  file: string
  /** First byte that cannot be read. */
  at: number
}

/** @throws Damaged: something that was durable is damaged. */
export async function checkLogs(directory: string): Promise<Torn[]> {
  const torn: Torn[] = []
  const files = await readdir(directory).catch(() => [])
  let last: number | undefined
  for (const name of files.filter(name => name.endsWith('.log')).sort()) {
    const scan = new Scan(join(directory, name), last)
    scan.run(await readFile(scan.file))
    if (scan.flaw !== undefined) torn.push({ file: scan.file, at: scan.flaw })
    last = scan.last()
  }
  return torn
}

class Scan {
  readonly file: string
  /** First byte that cannot be read. */
  flaw: number | undefined
  /** The last commit before this log, if known. */
  readonly #before: number | undefined
  /** Payloads of the commit that is being read; behind a flaw, it may lack its first ones. */
  #parts: Buffer[] = []
  /** Payloads of the last commit before the flaw. */
  #whole: Buffer[] = []
  /** A commit begins behind the flaw. */
  #another = false

  constructor(file: string, before: number | undefined) {
    this.file = file
    this.#before = before
  }

  /** @throws Damaged */
  run(bytes: Buffer): void {
    let at = 0
    while (at + HEADER <= bytes.length) {
      const blockEnd = at - (at % BLOCK) + BLOCK
      if (blockEnd - at < HEADER) {
        at = blockEnd
        continue
      }
      if (isWholeAt(bytes, at)) {
        const end = at + HEADER + bytes.readUInt16LE(at + 4)
        this.#piece(bytes[at + 6] as number, bytes.subarray(at + HEADER, end), at)
        at = end
        continue
      }
      this.flaw ??= at
      this.#parts = []
      at = nextWhole(bytes, at)
    }
    if (at < bytes.length) this.flaw ??= at
  }

  /** Number of the last commit before the flaw. */
  last(): number | undefined {
    return linkAtEnd(Buffer.concat(this.#whole))?.number ?? this.#before
  }

  #piece(type: number, payload: Buffer, at: number): void {
    if (type === FULL || type === FIRST) this.#parts = []
    this.#parts.push(payload)
    if (this.flaw !== undefined && type <= FIRST) this.#another = true
    if (type !== FULL && type !== LAST) return
    if (this.flaw === undefined) this.#whole = this.#parts
    else this.#behind(this.flaw, at)
    this.#parts = []
  }

  #behind(flaw: number, at: number): void {
    const link = linkAtEnd(Buffer.concat(this.#parts))
    const last = this.last()
    // Where no commit comes before the flaw, one that is torn itself may be all that there is.
    const harmless = link && (last === undefined ? !this.#another : link.durable <= last)
    if (!harmless)
      throw new Damaged(`The database's log ${this.file} is damaged at byte ${flaw}, and goes on at byte ${at}.`)
  }
}
