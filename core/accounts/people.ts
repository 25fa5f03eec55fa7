/** People: their profiles, and how they are found. */
import { Fault, isConflict } from '../../protocol/faults.ts'
import type { AppId, UserId } from '../../protocol/ids.ts'
import type { Profile } from '../../protocol/operations/shapes.ts'
import { Lru } from '../lru.ts'
import { type Change, type Connections, put, putRanked, type Records, removeRanked, table } from '../ports.ts'
import type { Handlers } from '../run.ts'
import { asked, placeKey, placeOf, placesOf } from './names.ts'
import { USERS, type UserRow } from './tables.ts'

interface Needs {
  records: Records
  connections: Pick<Connections, 'tell'>
}

/** Ranked by the version of the user's row that it is of. Partition: app; key: a place in a name, then the user. */
interface PlaceRow {
  user: UserId
}
const PLACES = table<PlaceRow>('user-names', undefined, { ranked: true })

const MAX_KNOWN = 100_000
/** Changes of one profile at once: all but one begin again. */
const MAX_TRIES = 8

export function people(needs: Needs) {
  const { records } = needs
  // Ids are never given again, so a user that was seen is one for ever. Absence is not kept: it may end at any moment.
  const known = new Lru<true>(MAX_KNOWN)

  /** Refused as a whole unless the id was never in use. */
  function added(app: AppId, user: UserId, row: UserRow): Change[] {
    return [put(USERS, app, user, row, 0), ...placesOf(user, row.name).map(place => placed(app, place, user, 1))]
  }

  async function exists(app: AppId, users: readonly UserId[]): Promise<boolean[]> {
    const unknown = [...new Set(users)].filter(user => !known.get(`${app}/${user}`))
    const rows = await records.getMany(
      USERS,
      unknown.map(user => ({ partition: app, key: user })),
    )
    const absent = new Set(unknown.filter((_, i) => !rows[i]))
    for (const user of unknown) if (!absent.has(user)) known.set(`${app}/${user}`, true)
    return users.map(user => !absent.has(user))
  }

  async function find(app: AppId, user: UserId): Promise<Profile | undefined> {
    const found = await records.get(USERS, app, user)
    return found && profileOf(user, found.row)
  }

  /** @throws Fault `no-such-user` */
  async function profile(app: AppId, user: UserId): Promise<Profile> {
    const found = await find(app, user)
    if (!found) throw new Fault('no-such-user')
    return found
  }

  return {
    added,
    exists,
    find,
    profile,
    handlers: {
      getMe: ({ app, user }) => profile(app, user),
      getUser: ({ app }, { user }) => profile(app, user),
      updateMe: updating(needs),
      findUsers: finding(needs),
    } satisfies Partial<Handlers>,
  }
}

function updating({ records, connections }: Needs): Handlers['updateMe'] {
  return async ({ app, user }, { name, avatar, about }) => {
    for (let tries = 1; ; tries++) {
      const found = await records.get(USERS, app, user)
      if (!found) throw new Fault('no-such-user')
      const old = found.row
      const row: UserRow = {
        name: name ?? old.name,
        createdAt: old.createdAt,
        ...optional('avatar', avatar === undefined ? old.avatar : avatar),
        ...optional('about', about === undefined ? old.about : about),
      }
      try {
        await records.write([
          put(USERS, app, user, row, found.version),
          ...moved(app, user, [old.name, row.name], found.version + 1),
        ])
      } catch (thrown) {
        if (!isConflict(thrown) || tries === MAX_TRIES) throw thrown
        continue
      }
      connections.tell(app, user, { kind: 'changed', what: 'profile' })
      return profileOf(user, row)
    }
  }
}

function finding({ records }: Needs): Handlers['findUsers'] {
  return async ({ app }, { q, limit, cursor }) => {
    const prefix = asked(q)
    if (prefix === '') return { items: [] }
    const items: Profile[] = []
    let after = cursor
    for (;;) {
      const rows = await records.scan(PLACES, app, { prefix, limit: limit + 1, ...(after && { after }) })
      const users = await records.getMany(
        USERS,
        rows.map(({ row }) => ({ partition: app, key: row.user })),
      )
      for (const [i, place] of rows.entries()) {
        const { user } = place.row
        const row = users[i]?.row
        if (row && placeOf(place.key) === firstPlace(user, row.name, prefix)) {
          if (items.length === limit) return after ? { items, next: after } : { items }
          items.push(profileOf(user, row))
        }
        after = place.cursor
      }
      if (rows.length <= limit) return { items }
    }
  }
}

const profileOf = (user: UserId, { name, avatar, about }: UserRow): Profile => ({
  user,
  name,
  ...optional('avatar', avatar),
  ...optional('about', about),
})
const optional = (field: string, value: string | null | undefined) => (value ? { [field]: value } : {})

const placed = (app: AppId, place: string, user: UserId, rank: number) =>
  putRanked(PLACES, app, placeKey(place, user), { user }, rank)
function moved(app: AppId, user: UserId, [from, to]: readonly [string, string], rank: number): Change[] {
  const old = new Set(placesOf(user, from))
  const now = new Set(placesOf(user, to))
  return [
    ...[...old].filter(place => !now.has(place)).map(place => removeRanked(PLACES, app, placeKey(place, user), rank)),
    ...[...now].filter(place => !old.has(place)).map(place => placed(app, place, user, rank)),
  ]
}

/** Whoever is found at several places is listed at the first of them, so that no page repeats another. */
function firstPlace(user: UserId, name: string, prefix: string): string | undefined {
  return placesOf(user, name)
    .filter(place => place.startsWith(prefix))
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))[0]
}
