/**
 * Log-ins: one for each time that a password was given, known by its refresh token, which changes at every use.
 * A refresh token is `imr_{app}/{user}/{grant}/{family}/{secret}`. The family stays as long as the log-in does: a token
 * with the right family and another secret was genuine once, so it has been copied, and the log-in ends.
 */
import { Fault } from '../../protocol/faults.ts'
import { AppId, type EpochMs, UserId } from '../../protocol/ids.ts'
import { Lru } from '../lru.ts'
import { type Change, type Clock, type Connections, put, type Random, type Records, remove, table } from '../ports.ts'
import { isSecret, PREFIX, randomText, secretText, sha256 } from '../secrets.ts'

interface Needs {
  records: Records
  clock: Clock
  random: Random
  connections: Pick<Connections, 'end'>
  settings: { refreshTokenMs: number }
}

/** Partition: `{app}/{user}`; key: grant. */
interface LoginRow {
  /** Both SHA-256 in hex. */
  family: string
  secret: string
  createdAt: EpochMs
  /** Of the refresh token. */
  expiresAt: EpochMs
  revokedAt?: EpochMs
}
const LOGINS = table<LoginRow>('logins')

export interface Login {
  app: AppId
  user: UserId
  grant: string
}

/** Of one account; one more ends the oldest. */
const MAX_LOGINS = 500
/** A page of a scan. */
const PAGE = 1_000
/** Log-ins found alive lately. Another process may have ended one since, so this does not last. */
const MAX_LIVE = 100_000
const LIVE_MS = 5_000

export function logins({ records, clock, random, connections, settings }: Needs) {
  const live = new Lru<EpochMs>(MAX_LIVE)
  // Goes up at every revocation: what was read before one is not kept.
  let revocations = 0

  /** Begins a log-in, in the same write as `guards`. @throws Fault `conflict`, of the guards */
  async function begin(app: AppId, user: UserId, guards: readonly Change[]) {
    const grant = randomText(random, 16)
    const family = secretText(random)
    const secret = secretText(random)
    const now = clock.now()
    const row: LoginRow = {
      family: sha256(family),
      secret: sha256(secret),
      createdAt: now,
      expiresAt: now + settings.refreshTokenMs,
    }
    const { crowded, gone } = await outlived(app, user, now)
    await records.write([...guards, put(LOGINS, `${app}/${user}`, grant, row, 0), ...gone])
    for (const old of crowded) closed({ app, user, grant: old })
    return { app, user, grant, refreshToken: written({ app, user, grant }, family, secret) }
  }

  /** Removes what has ended by itself, and the oldest ones where there are too many. */
  async function outlived(app: AppId, user: UserId, now: EpochMs) {
    const rows = await records.scan(LOGINS, `${app}/${user}`, { limit: PAGE })
    const alive = rows.filter(({ row }) => row.expiresAt > now)
    const open = alive.filter(({ row }) => !row.revokedAt).sort((a, b) => a.row.expiresAt - b.row.expiresAt)
    const crowded = open.slice(0, Math.max(0, open.length + 1 - MAX_LOGINS)).map(({ key }) => key)
    const dead = rows.filter(({ row }) => row.expiresAt <= now).map(({ key }) => key)
    const gone = [...dead, ...crowded].map(grant => remove(LOGINS, `${app}/${user}`, grant))
    return { crowded, gone }
  }

  /** Takes a refresh token for the next. @throws Fault `bad-credentials` · `token-expired` · `token-revoked` */
  async function refresh(token: string) {
    const { login, family, secret } = taken(token)
    const found = await genuine(login, family)
    if (found.row.revokedAt) throw new Fault('token-revoked')
    if (found.row.expiresAt <= clock.now()) throw new Fault('token-expired')
    if (!isSecret(found.row.secret, secret)) return await usedTwice(login)
    const next = secretText(random)
    const row: LoginRow = {
      ...found.row,
      secret: sha256(next),
      expiresAt: clock.now() + settings.refreshTokenMs,
    }
    try {
      await records.write([put(LOGINS, partition(login), login.grant, row, found.version)])
    } catch (thrown) {
      // Another use of the same token came first, or the log-in has been ended.
      if (Fault.from(thrown).code === 'conflict') return await usedTwice(login)
      throw thrown
    }
    return { ...login, refreshToken: written(login, family, next) }
  }

  async function usedTwice(login: Login): Promise<never> {
    await revoke(login)
    throw new Fault('token-revoked')
  }

  /** The log-in that a token is of, whichever of its tokens it is. @throws Fault `bad-credentials` */
  async function genuine(login: Login, family: string) {
    const found = await records.get(LOGINS, partition(login), login.grant)
    if (!found || !isSecret(found.row.family, family)) throw new Fault('bad-credentials')
    return found
  }

  /** Ends a log-in by any of its refresh tokens; again does nothing. @throws Fault `bad-credentials` */
  async function end(token: string): Promise<void> {
    const { login, family } = taken(token)
    await genuine(login, family)
    await revoke(login)
  }

  async function revoke(login: Login): Promise<void> {
    const found = await records.get(LOGINS, partition(login), login.grant)
    if (found && !found.row.revokedAt) {
      // Unconditional: it wins against a refresh that is under way, which then finds another version.
      await records.write([put(LOGINS, partition(login), login.grant, { ...found.row, revokedAt: clock.now() })])
    }
    closed(login)
  }

  /** Ends all log-ins of a user but one, in the same write as `guards`. @throws Fault `conflict`, of the guards */
  async function revokeAll(app: AppId, user: UserId, except: string, guards: readonly Change[]): Promise<void> {
    const rows = await records.scan(LOGINS, `${app}/${user}`, { limit: PAGE })
    const open = rows.filter(({ key, row }) => key !== except && !row.revokedAt)
    const revokedAt = clock.now()
    const changes = open.map(({ key, row }) => put(LOGINS, `${app}/${user}`, key, { ...row, revokedAt }))
    if (guards.length + changes.length > 0) await records.write([...guards, ...changes])
    for (const { key: grant } of open) closed({ app, user, grant })
  }

  function closed(login: Login): void {
    revocations++
    live.delete(`${partition(login)}/${login.grant}`)
    connections.end(login.app, login.user, 'token-revoked', login.grant)
  }

  /** Whether the access tokens of a log-in are good. */
  async function isLive(login: Login): Promise<boolean> {
    const key = `${partition(login)}/${login.grant}`
    const until = live.get(key)
    if (until !== undefined && clock.now() < until) return true
    const before = revocations
    const found = await records.get(LOGINS, partition(login), login.grant)
    if (!found || found.row.revokedAt) return false
    if (before === revocations) live.set(key, clock.now() + LIVE_MS)
    return true
  }

  return { begin, refresh, end, revokeAll, isLive }
}

const partition = ({ app, user }: Login) => `${app}/${user}`
const written = ({ app, user, grant }: Login, family: string, secret: string) =>
  `${PREFIX.refresh}${app}/${user}/${grant}/${family}/${secret}`

const SECRET = /^[A-Za-z0-9_-]{1,64}$/
/** @throws Fault `bad-credentials` */
function taken(token: string): { login: Login; family: string; secret: string } {
  const parts = token.startsWith(PREFIX.refresh) ? token.slice(PREFIX.refresh.length).split('/', 6) : []
  const [grant, family, secret] = parts.slice(2)
  const app = AppId.safeParse(parts[0])
  const user = UserId.safeParse(parts[1])
  const wellFormed = parts.length === 5 && parts.slice(2).every(part => SECRET.test(part))
  if (!app.success || !user.success || !wellFormed) throw new Fault('bad-credentials')
  return {
    login: { app: app.data, user: user.data, grant: grant as string },
    family: family as string,
    secret: secret as string,
  }
}
