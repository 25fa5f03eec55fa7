/**
 * The number of the last durable commit, written down beside the database. What is cut off the end of LevelDB's log is
 * like what was never written: only somebody else can tell that it was there.
 *
 * Written after the commit and not waited for, so it may stay behind by the last moments before a crash, and after a power
 * cut by some seconds; it is never ahead.
 */
import { constants } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { crc32c } from '@node-rs/crc32'

const FILE = 'last-commit'
/** Of one length, so that a number is written over the one before. */
const line = (number: number) => {
  const text = `commit ${String(number).padStart(16, '0')}`
  return `${text} ${crc32c(text).toString(16).padStart(8, '0')}\n`
}

type Handle = Awaited<ReturnType<typeof open>>

export class Witness {
  readonly #file: string
  #handle: Handle | undefined
  #next: number | undefined
  #writing: Promise<void> | undefined

  constructor(directory: string) {
    this.#file = join(directory, FILE)
  }

  /** The last commit that it knows of. Undefined: there is none yet, or it is damaged, which alone loses nothing. */
  async read(): Promise<number | 'damaged' | undefined> {
    try {
      const text = await readFile(this.#file, 'latin1')
      const number = Number(text.slice(7, 23))
      return text === line(number) ? number : 'damaged'
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw cause
    }
  }

  /** From a number that is on disk: it is when this returns, too. */
  async begin(number: number): Promise<void> {
    await this.close()
    // In its place: cut off first, it would know nothing for a moment.
    this.#handle = await open(this.#file, constants.O_RDWR | constants.O_CREAT, 0o600)
    await this.#handle.write(line(number), 0)
    await this.#handle.sync()
    await using directory = await open(dirname(this.#file))
    await directory.sync()
  }

  /** A commit is durable. One write at a time: of those that come meanwhile, the last. */
  saw(number: number): void {
    this.#next = number
    this.#writing ??= this.#write()
  }

  async close(): Promise<void> {
    await this.#writing
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close()
  }

  async #write(): Promise<void> {
    for (let number = this.#next; number !== undefined && this.#handle; number = this.#next) {
      this.#next = undefined
      // Where it cannot be written it stays behind; the commit itself is stored.
      await this.#handle.write(line(number), 0).catch(() => {})
    }
    this.#writing = undefined
  }
}
