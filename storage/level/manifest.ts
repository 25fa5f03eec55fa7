/**
 * What LevelDB's manifest says the database is made of. LevelDB makes an empty database where CURRENT is missing, takes a
 * manifest that was cut off for an older one, and does not miss a log that is gone; here each of them is told.
 * Format: db/version_edit.cc of LevelDB: numbered fields, in the records of a log (wal.ts).
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isCutOff, readLog } from './logfile.ts'
import { Damaged } from './meta.ts'
import { Reader } from './varint.ts'

export interface Manifest {
  /** Paths. The logs that are replayed at the next opening, oldest first. */
  logs: string[]
  tables: { file: string; bytes: number }[]
  /** CURRENT, and the manifest that it names. */
  named: string[]
  /** What that manifest held when it was read. */
  content: Buffer
}

interface State {
  log: number
  /** Bytes by number, by level. */
  levels: Map<number, Map<number, number>>
}

/** Undefined: there is no database yet. @throws Damaged: files are missing, or their list is damaged. */
export async function readManifest(directory: string): Promise<Manifest | undefined> {
  const names = new Set(await readdir(directory).catch(noDirectory))
  if (!names.has('CURRENT')) {
    // What a first start leaves that was cut short: a first manifest, and nothing in it.
    const made = [...names].find(name => /^\d+\.(ldb|sst|log)$/.test(name) || /^MANIFEST-(?!000001$)/.test(name))
    if (made)
      throw new Damaged(`The database's file ${join(directory, 'CURRENT')} is missing, though ${made} is there.`)
    return undefined
  }
  const current = await readFile(join(directory, 'CURRENT'), 'latin1')
  const name = /^(MANIFEST-\d+)\n$/.exec(current)?.[1]
  if (!name) throw new Damaged(`The database's file ${join(directory, 'CURRENT')} is damaged: it names no manifest.`)
  const file = join(directory, name)
  if (!names.has(name)) throw new Damaged(`The database's file ${file} is missing, or CURRENT names a wrong one.`)
  const content = await readFile(file)
  const state = read(content, file)
  const place = { directory, names, manifest: file }
  const named = [join(directory, 'CURRENT'), file]
  return { logs: logs(place, state), tables: tables(place, state), named, content }
}

function noDirectory(cause: NodeJS.ErrnoException): string[] {
  if (cause.code === 'ENOENT') return []
  throw cause
}

function read(bytes: Buffer, file: string): State {
  const state: State = { log: 0, levels: new Map() }
  // An end that is cut off was being written when the process stopped: it changes nothing that files do not show.
  const { records, flaw } = readLog(bytes, file)
  if (flaw !== undefined && !isCutOff(bytes, flaw))
    throw new Damaged(`The database's file ${file} is damaged at byte ${flaw}.`)
  try {
    for (const record of records) apply(state, new Reader(record))
  } catch (cause) {
    throw new Damaged(`The database's file ${file} is damaged: ${cause instanceof Error ? cause.message : cause}.`)
  }
  if (records.length === 0) throw new Damaged(`The database's file ${file} is damaged: nothing in it can be read.`)
  return state
}

// biome-ignore format: a table
const FIELD = { comparator: 1, log: 2, nextFile: 3, lastSequence: 4, compactPointer: 5, deleted: 6, added: 7, previousLog: 9 } as const

/** One edit: the files it takes away go before those it adds. */
function apply(state: State, edit: Reader): void {
  const added: [level: number, number: number, bytes: number][] = []
  while (!edit.atEnd) {
    const field = edit.number()
    if (field === FIELD.comparator) edit.bytes(edit.number())
    else if (field === FIELD.log) state.log = edit.number()
    else if (field === FIELD.nextFile || field === FIELD.lastSequence || field === FIELD.previousLog) edit.number()
    else if (field === FIELD.compactPointer) {
      edit.number()
      edit.bytes(edit.number())
    } else if (field === FIELD.deleted) {
      const files = state.levels.get(edit.number())
      const number = edit.number()
      files?.delete(number)
    } else if (field === FIELD.added) {
      added.push([edit.number(), edit.number(), edit.number()])
      // First and last key.
      edit.bytes(edit.number())
      edit.bytes(edit.number())
    } else throw new RangeError(`field ${field} is not known`)
  }
  for (const [level, number, bytes] of added) {
    const files = state.levels.get(level) ?? new Map<number, number>()
    state.levels.set(level, files.set(number, bytes))
  }
}

/** Where the files lie, and who names them. */
interface Place {
  directory: string
  names: ReadonlySet<string>
  manifest: string
}

function logs(place: Place, { log }: State): string[] {
  const numberOf = (name: string) => Number.parseInt(name, 10)
  const found = [...place.names].filter(name => /^\d+\.log$/.test(name) && numberOf(name) >= log)
  if (log !== 0 && !found.some(name => numberOf(name) === log)) throw missing(place, log, 'log')
  return found.sort((a, b) => numberOf(a) - numberOf(b)).map(name => join(place.directory, name))
}

function tables(place: Place, { levels }: State): Manifest['tables'] {
  return [...levels.values()].flatMap(level =>
    [...level].map(([number, bytes]) => {
      const name = [numbered(number, 'ldb'), numbered(number, 'sst')].find(name => place.names.has(name))
      if (!name) throw missing(place, number, 'ldb')
      return { file: join(place.directory, name), bytes }
    }),
  )
}

/** A manifest that lost its end names files that are rightly gone. */
function missing({ directory, manifest }: Place, number: number, ending: string): Damaged {
  const file = join(directory, numbered(number, ending))
  return new Damaged(`The database's file ${file} is missing, or the end of ${manifest}, which names it, is cut off.`)
}

const numbered = (number: number, ending: string) => `${String(number).padStart(6, '0')}.${ending}`
