/** The schema: numbered files, each applied once, by one node at a time, only ever forward. */
import { createHash, randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { CannotOpen } from '../level/meta.ts'
import type { Ring } from './ring.ts'

/** Beside the sources; what is compiled reads them there. */
const FOLDER = new URL('../../../storage/cassandra/migrations/', import.meta.url)
/** A node that applies migrations says so again and again; one that is silent for so long has died. */
const LOCK_SECONDS = 30
const RETRY_MS = 500
const WAIT_MS = 120_000

export interface Migration {
  number: number
  name: string
  text: string
}

export async function migrations(folder: URL = FOLDER): Promise<Migration[]> {
  const names = (await readdir(fileURLToPath(folder))).filter(name => /^\d{3}-.*\.cql$/.test(name)).sort()
  return Promise.all(
    names.map(async name => ({
      number: Number(name.slice(0, 3)),
      name,
      text: await readFile(fileURLToPath(new URL(name, folder)), 'utf8'),
    })),
  )
}

/** Statements of a file: without comments, apart at semicolons at the end of a line. */
export function statementsOf(text: string): string[] {
  const bare = text.replace(/^\s*--.*$/gm, '')
  return bare
    .split(/;\s*$/m)
    .map(statement => statement.trim())
    .filter(statement => statement !== '')
}

/**
 * Brings the keyspace's schema up to date. @throws CannotOpen: it is newer than this version, or was changed by hand, or
 * another node has been at it for too long.
 */
export async function migrate(
  ring: Ring,
  wanted: readonly Migration[],
  pause: (ms: number) => Promise<void>,
  lockSeconds = LOCK_SECONDS,
): Promise<void> {
  await ring.define('CREATE TABLE IF NOT EXISTS migrations (number int PRIMARY KEY, name text, sha256 text)')
  await ring.define('CREATE TABLE IF NOT EXISTS migration_lock (id int PRIMARY KEY, holder text)')
  if ((await missing(ring, wanted)).length === 0) return
  const lock = new Lock(ring, lockSeconds)
  await lock.acquire(pause)
  try {
    for (const migration of await missing(ring, wanted)) {
      for (const statement of statementsOf(migration.text)) await lock.during(() => ring.define(ifAbsent(statement)))
      const { number, name, text } = migration
      const set = 'INSERT INTO migrations (number, name, sha256) VALUES (?, ?, ?)'
      await ring.write([[set, [number, name, hashOf(text)]]])
    }
  } finally {
    await lock.release()
  }
}

/** @throws CannotOpen: its schema is older, and only a server may bring it up to date; or newer */
export async function mustBeCurrent(ring: Ring, keyspace: string, wanted: readonly Migration[]): Promise<void> {
  const [table] = await ring.read(
    'SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?',
    [keyspace, 'migrations'],
  )
  const [next] = table ? await missing(ring, wanted) : wanted
  if (next)
    throw new CannotOpen(
      `The keyspace is of a version before this one: it lacks ${next.name}. A server of this version brings it up to date, and ` +
        'those of the version before do not start any more then; until that, use its own command.',
    )
}

export async function missing(ring: Ring, wanted: readonly Migration[]): Promise<Migration[]> {
  const rows = await ring.read('SELECT number, name, sha256 FROM migrations', [])
  const applied = new Map(rows.map(row => [Number(row.number), row]))
  for (const { number, name, text } of wanted) {
    const there = applied.get(number)
    if (there && there.sha256 !== hashOf(text))
      throw new CannotOpen(`Migration ${name} was applied to this keyspace with other contents.`)
    applied.delete(number)
  }
  const [newer] = applied.values()
  if (newer) throw new CannotOpen(`The keyspace was written by a newer version of this program: it has ${newer.name}.`)
  return wanted.filter(({ number }) => !rows.some(row => Number(row.number) === number))
}

/** What a node that died half way has made is there already. */
const ifAbsent = (statement: string) =>
  statement
    .replace(/^CREATE TABLE (?!IF NOT EXISTS)/i, 'CREATE TABLE IF NOT EXISTS ')
    .replace(/^(ALTER TABLE \S+ ADD) (?!IF NOT EXISTS)/i, '$1 IF NOT EXISTS ')

/** Nodes that make the same table at once would make two of it, so one of them does. */
class Lock {
  readonly #ring: Ring
  readonly #seconds: number
  readonly #holder = randomBytes(9).toString('base64url')

  constructor(ring: Ring, seconds: number) {
    this.#ring = ring
    this.#seconds = seconds
  }

  /** @throws CannotOpen: others have had it for too long. */
  async acquire(pause: (ms: number) => Promise<void>): Promise<void> {
    const insert = `INSERT INTO migration_lock (id, holder) VALUES (1, ?) IF NOT EXISTS USING TTL ${this.#seconds}`
    for (let waited = 0; ; waited += RETRY_MS) {
      const { outcome } = await this.#ring.compareAndSet([[insert, [this.#holder]]])
      // Nodes that have just begun, asked by all servers at once, may be late: it is asked again.
      if (outcome === 'applied' || (await this.#isMine().catch(() => false))) return
      if (waited >= WAIT_MS) throw new CannotOpen('Another node has been changing the schema for two minutes.')
      await pause(RETRY_MS)
    }
  }

  /** A statement may take longer than a lock lasts. @throws CannotOpen: it was lost before */
  async during(work: () => Promise<unknown>): Promise<void> {
    await this.#hold()
    const timer = setInterval(() => void this.#hold().catch(() => {}), (this.#seconds * 1000) / 3)
    try {
      await work()
    } finally {
      clearInterval(timer)
    }
  }

  async release(): Promise<void> {
    await this.#ring.compareAndSet([['DELETE FROM migration_lock WHERE id = 1 IF holder = ?', [this.#holder]]])
  }

  async #hold(): Promise<void> {
    const again = `UPDATE migration_lock USING TTL ${this.#seconds} SET holder = ? WHERE id = 1 IF holder = ?`
    const { outcome } = await this.#ring.compareAndSet([[again, [this.#holder, this.#holder]]])
    if (outcome !== 'applied' && !(await this.#isMine()))
      throw new CannotOpen('Another node took over the change of the schema.')
  }

  async #isMine(): Promise<boolean> {
    const [row] = await this.#ring.readSerial('SELECT holder FROM migration_lock WHERE id = 1', [])
    return row?.holder === this.#holder
  }
}

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex')
