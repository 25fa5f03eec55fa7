/** The journal that shim.c writes: its records, and the disk that they make, with what of it is synced and what is not. */
import { Content } from './content.ts'

/** As the shim numbers them. */
export const KINDS = [
  '', 'start', 'open', 'write', 'truncate', 'syncBegan', 'syncEnded', 'close', 'rename', 'unlink', 'mkdir',
] as const // biome-ignore format: a table
export type Kind = (typeof KINDS)[number]
const HEAD_BYTES = 24
const CREATED = 1
const TRUNCATED = 2
const DIRECTORY = 4

export interface Record {
  kind: Kind
  fd: number
  /** Flags of an open, position of a write, size of a truncation, number of a sync. */
  number: number
  payload: Buffer
  /** Where it ends in the journal. */
  end: number
}

export function readJournal(bytes: Buffer, from = 0): Record[] {
  const records: Record[] = []
  for (let at = from; at < bytes.length; ) {
    const payloadAt = at + HEAD_BYTES
    const end = payloadAt + bytes.readUInt32LE(at)
    if (end > bytes.length) throw new Error(`the journal ends within its record at ${at}`)
    const kind = KINDS[bytes.readUInt32LE(at + 4)]
    if (!kind) throw new Error(`the journal's record at ${at} is of no kind`)
    const fd = Number(bytes.readBigInt64LE(at + 8))
    const number = Number(bytes.readBigInt64LE(at + 16))
    records.push({ kind, fd, number, payload: bytes.subarray(payloadAt, end), end })
    at = end
  }
  return records
}

/** One step of names; a step is on disk or not, as a whole. */
type Step =
  | { kind: 'link'; path: string; file: Content }
  | { kind: 'mkdir'; path: string }
  | { kind: 'unlink'; path: string }
  | { kind: 'rename'; path: string; to: string }

export const folderOf = (path: string) => path.slice(0, Math.max(path.lastIndexOf('/'), 0))

/** Names of files, and directories (without a content). */
export type Names = Map<string, Content | undefined>

export function take(names: Names, step: Step): void {
  if (step.kind === 'link') names.set(step.path, step.file)
  else if (step.kind === 'mkdir') names.set(step.path, undefined)
  else if (step.kind === 'rename') moveAll(names, step.path, step.to)
  else names.delete(step.path)
}
/** A directory is moved with what is in it. */
function moveAll(names: Names, from: string, to: string): void {
  for (const path of [...names.keys()]) if (isIn(path, from)) move(names, path, to + path.slice(from.length))
}
const isIn = (path: string, folder: string) => path === folder || path.startsWith(`${folder}/`)
function move(names: Names, from: string, to: string): void {
  names.set(to, names.get(from))
  names.delete(from)
}

/** What a process sees of its disk, and how much of that a power cut leaves in any case. */
export class Disk {
  /** As the processes see them. */
  readonly names: Names = new Map()
  /** As they are synced. */
  readonly synced: Names = new Map()
  /** Steps from `synced` to `names`, in order. */
  steps: Step[] = []
  /** Steps that were ever synced. */
  #gone = 0
  /** The step, counted from the first one ever, that gave a file its latest name. */
  readonly #named = new Map<Content, number>()
  readonly #open = new Map<number, Content | string>()
  readonly #syncs = new Map<number, () => void>()

  apply({ kind, fd, number, payload }: Record): void {
    const on = this.#open.get(fd)
    const text = () => payload.toString()
    if (kind === 'start') this.#forgetProcess()
    else if (kind === 'open') this.#opened(fd, number, text())
    else if (kind === 'close') this.#open.delete(fd)
    else if (kind === 'write') fileOf(on).write(number, payload)
    else if (kind === 'truncate') fileOf(on).truncate(number)
    else if (kind === 'syncBegan') this.#syncs.set(number, this.#began(on))
    else if (kind === 'syncEnded') this.#syncs.get(number)?.()
    else if (kind === 'mkdir' || kind === 'unlink') this.#step({ kind, path: text() })
    else if (kind === 'rename') {
      const [path = '', to = ''] = text().split('\0')
      this.#step({ kind, path, to })
    }
  }

  #forgetProcess(): void {
    this.#open.clear()
    this.#syncs.clear()
  }

  #opened(fd: number, flags: number, path: string): void {
    if (flags & DIRECTORY) {
      this.#open.set(fd, path)
      return
    }
    if (flags & CREATED) this.#step({ kind: 'link', path, file: new Content() })
    const file = fileOf(this.names.get(path))
    this.#open.set(fd, file)
    if (flags & TRUNCATED && !(flags & CREATED)) file.truncate(0)
  }

  #step(step: Step): void {
    this.steps.push(step)
    take(this.names, step)
    const file = this.names.get(step.kind === 'rename' ? step.to : step.path)
    if (file) this.#named.set(file, this.#gone + this.steps.length)
  }

  /** What its end makes durable. A file's sync keeps the file's latest name, a directory's the names in it. */
  #began(on: Content | string | undefined): () => void {
    if (typeof on === 'string') {
      const inside = this.steps.findLastIndex(step => folderOf(step.path) === on)
      const upTo = this.#gone + inside + 1
      return () => this.#keepSteps(upTo)
    }
    const file = fileOf(on)
    const writes = file.mark()
    const named = this.#named.get(file) ?? 0
    return () => {
      file.keep(writes)
      this.#keepSteps(named)
    }
  }

  /** Names become durable in order: the ones before are kept with the one that is asked for. */
  #keepSteps(upTo: number): void {
    while (this.#gone < upTo) {
      take(this.synced, this.steps.shift() as Step)
      this.#gone++
    }
  }
}

function fileOf(on: Content | string | undefined): Content {
  if (on === undefined || typeof on === 'string') throw new Error('the journal writes to a file that it did not open')
  return on
}
