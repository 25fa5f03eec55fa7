/** Chunks into the files of a backup that is being made: each that is new once, and each in the list. */
import { createHash, hash } from 'node:crypto'
import { type FileHandle, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Where the bytes of a chunk lie. */
export interface Chunk {
  /** The backup that holds it. */
  in: string
  at: number
  bytes: number
  sha256: string
}

export const ITEMS = 'items'
export const CHUNKS = 'chunks'
/** What of `items` is written, for a run after one that was interrupted. */
const WRITTEN = 'written'
/** A line that is long makes a long chunk. */
const MAX_CHUNK_BYTES = 66 * 1024 * 1024

interface Files {
  items: FileHandle
  chunks: FileHandle
  written: FileHandle
}

export class Pack implements AsyncDisposable {
  readonly #to: string
  readonly #name: string
  readonly #files: Files
  readonly #known = new Map<string, Chunk>()
  readonly #list = createHash('sha256')
  readonly #counts = { chunks: 0, bytes: 0, newChunks: 0, newBytes: 0 }
  /** Bytes that an earlier run has left. */
  readonly from: number
  #end: number

  private constructor(to: string, name: string, files: Files, own: readonly Chunk[]) {
    this.#to = to
    this.#name = name
    this.#files = files
    this.from = own.reduce((sum, { bytes }) => sum + bytes, 0)
    this.#end = this.from
    for (const chunk of own) this.know({ ...chunk, in: name })
  }

  /** In `to`, with what an earlier run has left there. */
  static async open(to: string, name: string): Promise<Pack> {
    const items = await open(join(to, ITEMS), 'a+', 0o600)
    const own = await left(join(to, WRITTEN), items)
    await items.truncate(own.reduce((sum, { bytes }) => sum + bytes, 0))
    const written = await open(join(to, WRITTEN), 'w', 0o600)
    for (const chunk of own) await written.writeFile(lineOf(chunk))
    const chunks = await open(join(to, CHUNKS), 'w', 0o600)
    return new Pack(to, name, { items, written, chunks }, own)
  }

  /** One that need not be written. */
  know(chunk: Chunk): void {
    if (!this.#known.has(chunk.sha256)) this.#known.set(chunk.sha256, chunk)
  }

  /** Forgets what lies in files that are gone or too short. */
  async mustHold(sizeOf: (holder: string) => Promise<number>): Promise<void> {
    const sizes = new Map<string, number>([[this.#name, this.#end]])
    for (const [sha256, { in: holder, at, bytes }] of this.#known) {
      const size = sizes.get(holder) ?? (await sizeOf(holder))
      sizes.set(holder, size)
      if (at + bytes > size) this.#known.delete(sha256)
    }
  }

  async add(bytes: Buffer): Promise<void> {
    const sha256 = hash('sha256', bytes, 'hex')
    const chunk = this.#known.get(sha256) ?? (await this.#write(bytes, sha256))
    this.#counts.chunks++
    this.#counts.bytes += chunk.bytes
    if (chunk.in === this.#name) {
      this.#counts.newChunks++
      this.#counts.newBytes += chunk.bytes
    }
    const line = lineOf(chunk)
    this.#list.update(line)
    await this.#files.chunks.writeFile(line)
  }

  /** All of it is durable. */
  async end() {
    const { items, chunks } = this.#files
    await items.sync()
    await chunks.sync()
    await rm(join(this.#to, WRITTEN))
    return { ...this.#counts, sha256: this.#list.digest('hex') }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of Object.values(this.#files) as FileHandle[]) await file.close()
  }

  async #write(bytes: Buffer, sha256: string): Promise<Chunk> {
    const chunk: Chunk = { in: this.#name, at: this.#end, bytes: bytes.length, sha256 }
    await this.#files.items.writeFile(bytes)
    await this.#files.written.writeFile(lineOf(chunk))
    this.#end += bytes.length
    this.know(chunk)
    return chunk
  }
}

const lineOf = (chunk: Chunk) => `${JSON.stringify(chunk)}\n`

/** Chunks from the beginning of a file on, as far as they are what was written. */
async function left(written: string, items: FileHandle): Promise<Chunk[]> {
  const lines = (await readFile(written, 'utf8').catch(() => '')).split('\n').slice(0, -1)
  const found: Chunk[] = []
  for (let at = 0, nth = 0; nth < lines.length; nth++) {
    const chunk = chunkOf(lines[nth] as string)
    if (chunk?.at !== at) break
    const buffer = Buffer.alloc(chunk.bytes)
    await items.read(buffer, 0, chunk.bytes, at)
    if (hash('sha256', buffer, 'hex') !== chunk.sha256) break
    found.push(chunk)
    at += chunk.bytes
  }
  return found
}

/** Undefined: it is none. Names become paths, and lengths memory. */
export function chunkOf(line: string): Chunk | undefined {
  try {
    const chunk = JSON.parse(line) as Chunk
    return /^\d{4,}$/.test(chunk.in) && chunk.bytes <= MAX_CHUNK_BYTES && chunk.at >= 0 ? chunk : undefined
  } catch {
    return undefined
  }
}
