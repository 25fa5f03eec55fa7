/**
 * Log-ins: one for each time that a password was given, known by its refresh token, which changes at every use.
 * A refresh token is `imr_{app}/{user}/{grant}/{family}/{secret}`. The family stays as long as the log-in does: a token
 * with the right family and another secret was genuine once, so it has been copied, and the log-in ends.
 */
import { Fault, isConflict } from '../../protocol/faults.ts'
import { AppId, type EpochMs, UserId } from '../../protocol/ids.ts'
import { Lru } from '../lru.ts'
import {
  type Change,
  type Clock,
  type Connections,
  type Found,
  put,
  type Random,
  type Records,
  remove,
  table,
} from '../ports.ts'
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
/** Of one account, kept to say that they have been revoked. */
const MAX_REVOKED = 100
/** A page of a scan. */
const PAGE = 1_000
/** Log-ins found alive lately. Another process may have ended one since, so this does not last. */
const MAX_LIVE = 100_000
const LIVE_MS = 5_000

export class Logins {
  readonly #needs: Needs
  readonly #live = new Lru<EpochMs>(MAX_LIVE)
  /** Goes up at every revocation: what was read before one is not kept. */
  #revocations = 0

  constructor(needs: Needs) {
    this.#needs = needs
  }

  /** Begins a log-in, in the same write as `guards`. @throws Fault `conflict`, of the guards */
  async begin(app: AppId, user: UserId, guards: readonly Change[]) {
    const { records, clock, random, settings } = this.#needs
    const login = { app, user, grant: randomText(random, 16) }
    const family = secretText(random)
    const secret = secretText(random)
    const now = clock.now()
    const row: LoginRow = {
      family: sha256(family),
      secret: sha256(secret),
      createdAt: now,
      expiresAt: now + settings.refreshTokenMs,
    }
    const { crowded, gone } = outlived(await this.#all(app, user), now)
    const removed = [...gone, ...crowded].map(grant => remove(LOGINS, partition(login), grant))
    await records.write([...guards, put(LOGINS, partition(login), login.grant, row, 0), ...removed])
    for (const grant of crowded) this.#closed({ app, user, grant })
    return { ...login, refreshToken: written(login, family, secret) }
  }

  /** Takes a refresh token for the next. @throws Fault `bad-credentials` · `token-expired` · `token-revoked` */
  async refresh(token: string) {
    const { records, clock, random, settings } = this.#needs
    const { login, family, secret } = taken(token)
    const { row, version } = await this.#genuine(login, family)
    if (row.revokedAt) throw new Fault('token-revoked')
    if (row.expiresAt <= clock.now()) throw new Fault('token-expired')
    if (!isSecret(row.secret, secret)) return await this.#usedTwice(login)
    const next = secretText(random)
    const renewed: LoginRow = { ...row, secret: sha256(next), expiresAt: clock.now() + settings.refreshTokenMs }
    try {
      await records.write([put(LOGINS, partition(login), login.grant, renewed, version)])
    } catch (thrown) {
      // Another use of the same token came first, or the log-in has been ended.
      if (isConflict(thrown)) return await this.#usedTwice(login)
      throw thrown
    }
    return { ...login, refreshToken: written(login, family, next) }
  }

  /** Ends a log-in by any of its refresh tokens; again does nothing. @throws Fault `bad-credentials` */
  async end(token: string): Promise<void> {
    const { login, family } = taken(token)
    await this.#genuine(login, family)
    await this.#revoke(login)
  }

  /** Ends all log-ins of a user but one, in the same write as `guards`, and counts them. @throws Fault `conflict`, of the guards */
  async revokeAll(app: AppId, user: UserId, except: string, guards: readonly Change[]): Promise<number> {
    const { records, clock } = this.#needs
    const open = (await this.#all(app, user)).filter(({ key, row }) => key !== except && !row.revokedAt)
    const revokedAt = clock.now()
    const changes = open.map(({ key, row }) => put(LOGINS, `${app}/${user}`, key, { ...row, revokedAt }))
    if (guards.length + changes.length > 0) await records.write([...guards, ...changes])
    for (const { key: grant } of open) this.#closed({ app, user, grant })
    return open.length
  }

  /** Whether the access tokens of a log-in are good. */
  async isLive(login: Login): Promise<boolean> {
    const { clock } = this.#needs
    const key = `${partition(login)}/${login.grant}`
    const until = this.#live.get(key)
    if (until !== undefined && clock.now() < until) return true
    const before = this.#revocations
    if (!(await this.stands(login))) return false
    if (before === this.#revocations) this.#live.set(key, clock.now() + LIVE_MS)
    return true
  }

  /** As `isLive`, and not of what is remembered. */
  async stands(login: Login): Promise<boolean> {
    const found = await this.#needs.records.get(LOGINS, partition(login), login.grant)
    return found !== undefined && !found.row.revokedAt
  }

  async #all(app: AppId, user: UserId): Promise<Found<LoginRow>[]> {
    const rows: Found<LoginRow>[] = []
    for (;;) {
      const after = rows.at(-1)?.cursor
      const page = await this.#needs.records.scan(LOGINS, `${app}/${user}`, { limit: PAGE, ...(after && { after }) })
      rows.push(...page)
      if (page.length < PAGE) return rows
    }
  }

  async #usedTwice(login: Login): Promise<never> {
    await this.#revoke(login)
    throw new Fault('token-revoked')
  }

  /** The log-in that a token is of, whichever of its tokens it is. @throws Fault `bad-credentials` */
  async #genuine(login: Login, family: string): Promise<Found<LoginRow>> {
    const found = await this.#needs.records.get(LOGINS, partition(login), login.grant)
    if (!found || !isSecret(found.row.family, family)) throw new Fault('bad-credentials')
    return found
  }

  async #revoke(login: Login): Promise<void> {
    const { records, clock } = this.#needs
    const found = await records.get(LOGINS, partition(login), login.grant)
    if (found && !found.row.revokedAt) {
      // Unconditional: it wins against a refresh that is under way, which then finds another version.
      await records.write([put(LOGINS, partition(login), login.grant, { ...found.row, revokedAt: clock.now() })])
    }
    this.#closed(login)
  }

  #closed(login: Login): void {
    this.#revocations++
    this.#live.delete(`${partition(login)}/${login.grant}`)
    this.#needs.connections.end(login.app, login.user, 'token-revoked', login.grant)
  }
}

/** What another log-in leaves no room for: `gone` has ended already, `crowded` are the oldest that have not. */
function outlived(rows: readonly Found<LoginRow>[], now: EpochMs): { gone: string[]; crowded: string[] } {
  const alive = rows.filter(({ row }) => row.expiresAt > now).sort((a, b) => b.row.expiresAt - a.row.expiresAt)
  const expired = rows.filter(({ row }) => row.expiresAt <= now)
  const revoked = alive.filter(({ row }) => row.revokedAt).slice(MAX_REVOKED)
  const crowded = alive.filter(({ row }) => !row.revokedAt).slice(MAX_LOGINS - 1)
  return { gone: [...expired, ...revoked].map(({ key }) => key), crowded: crowded.map(({ key }) => key) }
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
