/** What a database is, stored in it: its format, and whatever shapes its rows. */
import type { Engine } from './engine.ts'
import { blank, FORMAT, HEAD, metaKey, seal, whole } from './rows.ts'

/** A later version that changes one of these opens older databases too, or refuses them by name. */
const SHAPE = { product: 'im-server', format: FORMAT, keys: 1, entries: 1, records: 1 } as const

/** The directory cannot be opened, and the message says why. */
export class CannotOpen extends Error {}
/** Something that was stored cannot be read, or is gone. */
export class Damaged extends CannotOpen {}

/** Writes the description into an empty database, unless there were commits. @throws CannotOpen: it is not ours, or of another shape */
export async function checkMeta(engine: Engine, commits: number): Promise<void> {
  const value = await engine.get(metaKey)
  if (!value) {
    const rows = await engine.rows({ limit: 1 })
    if (commits > 0 && rows.length === 0)
      throw new Damaged(`Commits 1 to ${commits} are missing from the database: it is empty.`)
    if (rows.length > 0) throw new CannotOpen('The data directory holds a database that this server did not make.')
    const json = Buffer.from(JSON.stringify(SHAPE))
    const row = blank(json.length)
    row.set(json, HEAD)
    await engine.write([[metaKey, seal(metaKey, row)]], true)
    return
  }
  const stored = read(value)
  const names = new Set([...Object.keys(SHAPE), ...Object.keys(stored)])
  for (const name of names) {
    const ours = (SHAPE as Record<string, unknown>)[name]
    if (stored[name] !== ours)
      throw new CannotOpen(
        `The database was made with ${name} ${JSON.stringify(stored[name])}; this version needs ${JSON.stringify(ours)}.`,
      )
  }
}

function read(value: Buffer): Record<string, unknown> {
  // The format is told before the checksum is looked at: another format may count it otherwise.
  if (value.length >= HEAD && value[HEAD - 1] !== FORMAT)
    throw new CannotOpen(`The database was made with format ${value[HEAD - 1]}; this version needs ${FORMAT}.`)
  try {
    return JSON.parse(whole(metaKey, value).toString('utf8', HEAD)) as Record<string, unknown>
  } catch (cause) {
    throw new CannotOpen("The database's description of itself is damaged.", { cause })
  }
}
