/** Personal keys, for stock clients and scripts: shown once, revocable, without an end. */
import { Fault, isConflict } from '../../protocol/faults.ts'
import type { AppId, EpochMs, UserId } from '../../protocol/ids.ts'
import { Lru } from '../lru.ts'
import { type Clock, type Connections, put, type Random, type Records, remove, table } from '../ports.ts'
import type { Handlers } from '../run.ts'
import { isSecret, PREFIX, secretText, sha256 } from '../secrets.ts'

interface Needs {
  records: Records
  clock: Clock
  random: Random
  connections: Pick<Connections, 'end'>
  settings: { maxKeys: number }
}

/** Partition: `{app}/{user}`; key: the key's id. */
interface KeyRow {
  name: string
  /** SHA-256 in hex. */
  hash: string
  createdAt: EpochMs
}
export const KEYS = table<KeyRow>('keys', { byHash: row => ({ partition: row.hash, sort: '' }) })
/** How many keys a user has, so that two made at once cannot both be the last one. Partition: app; key: user. */
export const KEY_COUNTS = table<{ count: number }>('key-counts', undefined, { spread: true })

/** Keys of one user made or deleted at once: all but one begin again. */
const MAX_TRIES = 20
const PAGE = 1_000

/** Owners of keys that were used lately. Another process may have deleted one since, so this does not last. */
const OWNERS_MS = 5_000
const MAX_OWNERS = 20_000

export function keys({ records, clock, random, connections, settings }: Needs) {
  const owners = keyOwners(records, clock)
  const createKey: Handlers['createKey'] = async ({ app, user }, { name }) => {
    const id = Buffer.from(random.bytes(8)).toString('hex')
    const key = PREFIX.key + secretText(random)
    const row: KeyRow = { name, hash: sha256(key), createdAt: clock.now() }
    await again(async () => {
      const counted = await records.get(KEY_COUNTS, app, user)
      const count = counted?.row.count ?? 0
      if (count >= settings.maxKeys) throw new Fault('too-many-keys', { maxKeys: settings.maxKeys })
      await records.write([
        put(KEYS, `${app}/${user}`, id, row, 0),
        put(KEY_COUNTS, app, user, { count: count + 1 }, counted?.version ?? 0),
      ])
    })
    return { id, name, createdAt: row.createdAt, key }
  }

  const listKeys: Handlers['listKeys'] = async ({ app, user }) => {
    const rows = await records.scan(KEYS, `${app}/${user}`, { limit: PAGE })
    const items = rows.map(({ key, row }) => ({ id: key, name: row.name, createdAt: row.createdAt }))
    return { items: items.sort((a, b) => a.createdAt - b.createdAt) }
  }

  const deleteKey: Handlers['deleteKey'] = async ({ app, user }, { id }) => {
    // Not every text is a record key.
    if (!/^[0-9a-f]{16}$/.test(id)) throw new Fault('no-such-key')
    await again(async () => {
      const [found, counted] = await Promise.all([
        records.get(KEYS, `${app}/${user}`, id),
        records.get(KEY_COUNTS, app, user),
      ])
      if (!found || !counted) throw new Fault('no-such-key')
      await records.write([
        remove(KEYS, `${app}/${user}`, id, found.version),
        put(KEY_COUNTS, app, user, { count: counted.row.count - 1 }, counted.version),
      ])
      owners.forget(found.row.hash)
    })
    connections.end(app, user, 'token-revoked', grantOf(id))
  }

  /** Not of what is remembered. `undefined`: the grant is not of a key. */
  async function stands({ app, user, grant }: Owner): Promise<boolean | undefined> {
    const [, id] = grant.split(grantOf(''), 2)
    return id === undefined ? undefined : (await records.get(KEYS, `${app}/${user}`, id)) !== undefined
  }

  return { ownerOf: owners.of, stands, handlers: { createKey, listKeys, deleteKey } satisfies Partial<Handlers> }
}

export interface Owner {
  app: AppId
  user: UserId
  grant: string
}

function keyOwners(records: Records, clock: Clock) {
  const known = new Lru<{ owner: Owner; until: EpochMs }>(MAX_OWNERS)
  /** Counts what was deleted: what was read before a deletion is not kept after it. */
  let deletions = 0

  /** Whose key it is. */
  async function of(key: string): Promise<Owner | undefined> {
    const hash = sha256(key)
    const kept = known.get(hash)
    if (kept && kept.until > clock.now()) return kept.owner
    const before = deletions
    const [found] = await records.scan(KEYS, hash, { index: 'byHash', limit: 1 })
    if (!found || !isSecret(found.row.hash, key)) return undefined
    const [app, user] = found.partition.split('/', 2)
    const owner = { app: app as AppId, user: user as UserId, grant: grantOf(found.key) }
    if (before === deletions) known.set(hash, { owner, until: clock.now() + OWNERS_MS })
    return owner
  }

  function forget(hash: string): void {
    deletions++
    known.delete(hash)
  }
  return { of, forget }
}

const grantOf = (id: string) => `key:${id}`

async function again(work: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (thrown) {
      if (!isConflict(thrown) || tries === MAX_TRIES) throw thrown
    }
  }
}
