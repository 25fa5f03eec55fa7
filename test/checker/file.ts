/** Histories as files: one JSON object a line, appended while a run goes on and read back piece by piece. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs'
import type { Operation } from './history.ts'

/** Written at once, in characters. */
const CHUNK = 1 << 20
/** Entries of a log in one line; a longer log takes several, which continue each other. */
const LOG_PART = 10_000

/** Appends operations; what was added is in the file after `flush` or `close`. */
export class HistoryFile {
  readonly path: string
  readonly #file: number
  #lines = ''

  constructor(path: string) {
    this.path = path
    this.#file = openSync(path, 'a')
  }

  add(operation: Operation): void {
    if (operation.do === 'log' && operation.entries.length > LOG_PART) {
      for (let at = 0; at < operation.entries.length; at += LOG_PART)
        this.add({ ...operation, entries: operation.entries.slice(at, at + LOG_PART) })
      return
    }
    this.#lines += `${JSON.stringify(operation)}\n`
    if (this.#lines.length >= CHUNK) this.flush()
  }

  flush(): void {
    const bytes = Buffer.from(this.#lines)
    this.#lines = ''
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at)
  }

  close(): void {
    this.flush()
    closeSync(this.#file)
  }
}

/**
 * The operations of a file, in order. A last line without its end is left out: the writer was killed in it.
 * @throws Error for a line that is not JSON.
 */
export function* readHistory(path: string): Generator<Operation, void, undefined> {
  const file = openSync(path, 'r')
  try {
    const chunk = Buffer.allocUnsafe(CHUNK)
    let rest: Buffer = Buffer.alloc(0)
    for (;;) {
      const length = readSync(file, chunk, 0, chunk.length, null)
      if (length === 0) return
      const bytes: Buffer =
        rest.length > 0 ? Buffer.concat([rest, chunk.subarray(0, length)]) : chunk.subarray(0, length)
      const end = bytes.lastIndexOf(10)
      for (const line of bytes.toString('utf8', 0, Math.max(end, 0)).split('\n'))
        if (line !== '') yield JSON.parse(line) as Operation
      rest = Buffer.from(bytes.subarray(end + 1))
    }
  } finally {
    closeSync(file)
  }
}
