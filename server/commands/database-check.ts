/** What `im doctor` says of the database: what is damaged in an operator's words, and what to do about it. */
import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Inspection, inspect } from '../../storage/open.ts'
import { INDEXED } from '../stored.ts'
import { type Check, type Tell, telling } from './checks.ts'
import { Progress } from './progress.ts'

const RESTORE =
  'Look for a failing disk or memory first. Then, with the server stopped, move the data directory away, keep it as it is, and restore a backup: `im restore`.'

export interface Database {
  inUse: boolean
  /** Time of the newest entry; 0 if unknown. */
  newest: number
}

export async function checkDatabase(dataDirectory: string, checks: Check[]): Promise<Database> {
  const directory = resolve(dataDirectory)
  const tell = telling('database', checks)
  let found: Inspection
  try {
    using progress = new Progress()
    found = await inspect(directory, INDEXED, rows => progress.tell(() => `${rows} rows are looked at`))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    tell(
      'problem',
      `it could not be looked at: ${why}`,
      'Give this user the rights to the data directory, and the disk some room.',
    )
    return { inUse: false, newest: 0 }
  }
  const inUse = found.state === 'in-use'
  if (inUse) tell('skipped', 'a server runs on it: its files and rows are looked at only while none does')
  else if (found.state === 'unfinished')
    tell('problem', sentence(found.broken.join(' ')), 'Do one of the two: no server starts on it before.')
  else if (found.state === 'absent') tell('ok', 'there is none yet: the first start makes it')
  else judge(directory, found, tell)
  return { inUse, newest: found.rows?.newest ?? 0 }
}

function judge(directory: string, found: Inspection, tell: Tell): void {
  for (const says of found.broken) tell('problem', sentence(says), todoOf(says, directory))
  if (found.broken.length > 0 && !found.rows) tell('skipped', 'the rows: they are looked at once the files are whole')
  for (const { file, at } of found.torn) {
    const says = `the log ${file} ends in a torn write, from byte ${at}`
    if (found.broken.length > 0) tell('warning', says)
    else tell('warning', says, 'Start the server: it leaves the end out, and nothing that was acknowledged is missing.')
  }
  if (found.witnessDamaged)
    tell(
      'warning',
      `${join(directory, 'last-commit')}, which tells whether the end of the log is missing, cannot be read`,
      'Start the server: it writes it anew. Nothing is missing because of this.',
    )
  for (const { key, says } of found.flaws) tell('problem', `${rowName(key)} ${says}`, RESTORE)
  if (found.flawCount > found.flaws.length)
    tell('problem', `${found.flawCount - found.flaws.length} more rows are damaged`, RESTORE)
  const { files, rows } = found
  if (!files || !rows || found.broken.length > 0 || found.flawCount > 0) return
  const { conversations, entries, records } = rows
  tell(
    'ok',
    `${files.tables} tables of ${files.bytes} bytes and the logs are whole; so are ${entries} entries of ${conversations} conversations and ${records} records`,
  )
}

const sentence = (says: string) => says.replace(/\.$/, '').replace(/^The database's/, 'the')

function todoOf(says: string, directory: string): string {
  const current = join(directory, 'level', 'CURRENT')
  const manifests = says.includes(current)
    ? readdirSync(join(directory, 'level')).filter(name => name.startsWith('MANIFEST-'))
    : []
  if (manifests.length === 1)
    return `CURRENT holds the name of the manifest and a line end, nothing else: printf '${manifests[0]}\\n' > '${current}', then run this again.`
  if (/are missing from the end/.test(says))
    return `${RESTORE} Without a backup: remove '${join(directory, 'last-commit')}' and start the server; what is missing, which was acknowledged, stays missing.`
  return RESTORE
}

/** What a row is, in words of the field. Keys: storage/level/rows.ts. */
function rowName(key: string): string {
  const [letter, first = '', second = '', third = '', fourth = ''] = key.split('\0')
  const [app = '', conversation = ''] = [first.slice(0, first.indexOf('/')), first.slice(first.indexOf('/') + 1)]
  const named = `conversation ${conversation} of app ${app}`
  if (letter === 'e') return `${named}, entry ${second.slice(1)}`
  if (letter === 't') return `${named}: its end`
  if (letter === 'd') return `${named}: the mark of message ${third} by ${second}`
  if (letter === 'r') return `record ${second} ${third} of table ${first}`
  if (letter === 'i') return `index ${second} of table ${first} at ${third} ${fourth}`.trimEnd()
  return `row ${JSON.stringify(key)}`
}
