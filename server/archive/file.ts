/** Files of exports, read and written as they stream. They hold secrets: nobody else may read them. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Archive } from '../../storage/open.ts'
import { CannotDo } from '../commands/trouble.ts'
import { HEAD } from './lines.ts'
import { Tally, type Totals } from './tally.ts'

/** One line, at most. */
const MAX_LINE_BYTES = 64 * 1024 * 1024
const CHUNK_BYTES = 1024 * 1024

/** Writes all of an archive; the file has its name when it is whole and durable. */
export async function writeExport(file: string, archive: Archive, told: (lines: number) => void): Promise<Totals> {
  if (await stat(file).catch(() => undefined)) throw new CannotDo(`${file} is there already.`)
  const half = `${file}.part`
  const tally = new Tally()
  const handle = await open(half, 'w', 0o600)
  let totals: Totals
  try {
    // What an earlier one has left may be readable by others.
    await handle.chmod(0o600)
    await handle.writeFile(tally.begin())
    for await (const items of archive.items()) {
      await handle.writeFile(tally.add(items))
      told(tally.lines)
    }
    const end = tally.finish()
    await handle.writeFile(end.text)
    await handle.sync()
    totals = end.totals
  } finally {
    await handle.close()
  }
  await rename(half, file)
  const folder = await open(dirname(file))
  await folder.sync()
  await folder.close()
  return totals
}

/** Its totals, after everything before them was found to be what was written. @throws CannotDo */
export async function checkExport(file: string, told: (share: number) => void): Promise<Totals> {
  const { size } = await stat(file).catch((cause: Error) => {
    throw new CannotDo(`${file} cannot be read: ${cause.message}.`)
  })
  const whole = createHash('sha256')
  let held: Buffer | undefined
  let first: string | undefined
  for await (const { lines, end } of linesFrom(file, 0)) {
    for (const line of lines) {
      if (held) whole.update(held).update('\n')
      first ??= line.toString('utf8', 0, 100)
      held = line
    }
    told(end / size)
  }
  if (first === undefined || !/^\{"kind":"export","format":\d+\}$/.test(first))
    throw new CannotDo(`${file} is not an export.`)
  if (first !== HEAD) throw new CannotDo(`${file} has another format: ${first}.`)
  const totals = totalsOf(held)
  if (!totals) throw new CannotDo(`${file} is not whole: it has no end.`)
  if (totals.sha256 !== whole.digest('hex')) throw new CannotDo(`${file} is damaged: it is not what its end says.`)
  return totals
}

function totalsOf(line: Buffer | undefined): Totals | undefined {
  try {
    const parsed = JSON.parse(String(line)) as Totals
    return parsed.kind === 'total' ? parsed : undefined
  } catch {
    return undefined
  }
}

/** Whole lines from a place on, a chunk's at a time, and where the last of them ends. */
export async function* linesFrom(file: string, start: number): AsyncGenerator<{ lines: Buffer[]; end: number }> {
  let rest: Buffer = Buffer.alloc(0)
  let end = start
  for await (const chunk of createReadStream(file, { start, highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>) {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk
    const lines: Buffer[] = []
    let from = 0
    for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, from)) {
      lines.push(bytes.subarray(from, at))
      from = at + 1
    }
    rest = bytes.subarray(from)
    end += from
    if (rest.length > MAX_LINE_BYTES) throw new CannotDo(`${file} is not an export: a line is too long.`)
    if (lines.length > 0) yield { lines, end }
  }
  if (rest.length > 0) throw new CannotDo(`${file} is not whole: its last line is cut off.`)
}
