/**
 * What one process has to itself, wherever others look from: a file that it writes anew every few seconds. The number of a
 * process says whether it lives only to those of the same machine, and every container is one of its own.
 */
import { randomBytes } from 'node:crypto'
import { readlinkSync } from 'node:fs'
import { open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'

const BEAT_MS = 5_000
/** Who has not written for so long has been killed. */
const SILENT_MS = 60_000

export class Hold {
  readonly #file: string
  readonly #text: string
  readonly #timer: NodeJS.Timeout
  #beat: Promise<void> = Promise.resolve()

  private constructor(file: string, text: string) {
    this.#file = file
    this.#text = text
    this.#timer = setInterval(() => {
      this.#beat = this.#beat.then(() => this.#write()).catch(() => {})
    }, BEAT_MS).unref()
  }

  /** Undefined: another has it. */
  static async take(file: string): Promise<Hold | undefined> {
    const text = `${process.pid} ${HERE} ${randomBytes(12).toString('hex')}\n`
    for (;;) {
      try {
        await writeFile(file, text, { flag: 'wx', mode: 0o600 })
        return new Hold(file, text)
      } catch (thrown) {
        if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown
      }
      if (!(await isLeft(file))) return undefined
      await rm(file, { force: true })
    }
  }

  /** False: another took this one for killed, and has it now. */
  async stands(): Promise<boolean> {
    return (await readFile(this.#file, 'utf8').catch(() => '')) === this.#text
  }

  async release(): Promise<void> {
    clearInterval(this.#timer)
    await this.#beat
    if (await this.stands()) await rm(this.#file, { force: true })
  }

  /** In place: a file that is gone is not made again. */
  async #write(): Promise<void> {
    if (!(await this.stands())) return
    await using file = await open(this.#file, 'r+')
    await file.write(this.#text, 0)
  }
}

/** Who held it was killed, or there is none. */
export async function isLeft(file: string): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch(() => undefined)
  if (text === undefined) return true
  const [pid, where] = text.trim().split(' ')
  // This one's own number is that of one before.
  if (where === HERE && (Number(pid) === process.pid || !lives(Number(pid)))) return true
  return (await silenceOf(file)) > SILENT_MS
}

/** The number of the process that holds it, where it says one. */
export const holderOf = async (file: string): Promise<string> =>
  (await readFile(file, 'utf8').catch(() => '')).split(/\s/)[0] ?? ''

/** By the clock that the file's time is of, which need not be this machine's. */
async function silenceOf(file: string): Promise<number> {
  const now = `${file}.${randomBytes(6).toString('hex')}`
  await writeFile(now, '', { flag: 'wx', mode: 0o600 })
  try {
    const [{ mtimeMs: at }, { mtimeMs: since }] = await Promise.all([stat(now), stat(file)])
    return at - since
  } catch {
    // It was given back meanwhile.
    return Number.POSITIVE_INFINITY
  } finally {
    await rm(now, { force: true })
  }
}

const HERE = machine()
/** Where numbers of processes mean the same. */
function machine(): string {
  try {
    return `${hostname()}/${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return hostname()
  }
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}
