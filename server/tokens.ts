/** Access tokens: JWTs signed by a key made at first start and kept in records; a key signs for 90 days, and verifies until its last token has ended. */
import { createSecretKey, type KeyObject } from 'node:crypto'
import jwt from 'jsonwebtoken'
import { type Claims, type Clock, put, type Random, type Records, remove, type Tokens, table } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import { AppId, UserId } from '../protocol/ids.ts'

/** Partition: `keys`; key: key id. */
interface SigningKeyRow {
  /** 256 bits, base64url. */
  secret: string
  createdAt: number
}
const SIGNING_KEYS = table<SigningKeyRow>('signing-keys')

const SIGNS_MS = 90 * 86_400_000
/** Longer than any access token lives. */
const VERIFIES_MS = SIGNS_MS + 86_400_000
const MAX_KEYS = 100
/** Keys that nobody here has heard of are looked for this often, whoever presents them. */
const LOOK_MS = 1_000

interface Needs {
  records: Records
  scheduler: Clock
  random: Random
}
interface Key {
  id: string
  /** Not its bytes: those would be tried as a public key first, at fifty times the cost of the check. */
  secret: KeyObject
  createdAt: number
}

export async function openTokens({ records, scheduler, random }: Needs): Promise<Tokens> {
  let keys = await load(records, scheduler.now())
  if (isStale(keys.at(-1), scheduler.now())) keys.push(await makeKey(records, scheduler, random))
  let renewing = false
  let looked = { at: Number.NEGATIVE_INFINITY, found: Promise.resolve() }

  /** Another server may have made a key since. */
  function lookAgain(): Promise<void> {
    const now = scheduler.now()
    if (Math.abs(now - looked.at) < LOOK_MS) return looked.found
    const found = load(records, now).then(all => {
      keys = all
    })
    looked = { at: now, found }
    return found
  }

  /** A key past its time goes on signing until its successor is stored. */
  function signer(): Key {
    const newest = keys.at(-1) as Key
    if (isStale(newest, scheduler.now()) && !renewing) {
      renewing = true
      makeKey(records, scheduler, random)
        .then(key => {
          keys = [...keys, key]
        })
        .catch(() => {})
        .finally(() => {
          renewing = false
        })
    }
    return newest
  }

  return {
    sign({ app, user, grant, expiresAt }) {
      const { id, secret } = signer()
      const claims = { app, sub: user, grant, iat: seconds(scheduler.now()), exp: seconds(expiresAt) }
      return jwt.sign(claims, secret, { algorithm: 'HS256', keyid: id })
    },
    verify(token) {
      const id = headerOf(token)
      const isKnown = id === undefined || keys.some(key => key.id === id)
      return isKnown ? claimsOf(token) : lookAgain().then(() => claimsOf(token))
    },
  }

  function claimsOf(token: string): Claims {
    const claims = verified(token, keys, scheduler.now())
    const app = AppId.safeParse(claims.app)
    const user = UserId.safeParse(claims.sub)
    if (!app.success || !user.success || typeof claims.grant !== 'string') throw new Fault('bad-credentials')
    return { app: app.data, user: user.data, grant: claims.grant, expiresAt: (claims.exp ?? 0) * 1000 }
  }
}

const seconds = (ms: number) => Math.floor(ms / 1000)
const isStale = (key: Key | undefined, now: number) => key === undefined || now - key.createdAt > SIGNS_MS

/** @throws Fault `bad-credentials` · `token-expired` */
function verified(token: string, keys: readonly Key[], now: number): jwt.JwtPayload {
  const id = headerOf(token)
  const key = keys.find(one => one.id === id)
  if (!key) throw new Fault('bad-credentials')
  try {
    // Only the algorithm that we sign with: `none` and public keys taken for secrets are refused by it.
    return jwt.verify(token, key.secret, { algorithms: ['HS256'], clockTimestamp: seconds(now) }) as jwt.JwtPayload
  } catch (thrown) {
    throw new Fault(thrown instanceof jwt.TokenExpiredError ? 'token-expired' : 'bad-credentials')
  }
}

function headerOf(token: string): string | undefined {
  try {
    const { kid } = JSON.parse(Buffer.from(token.split('.', 1)[0] ?? '', 'base64url').toString()) as { kid?: unknown }
    return typeof kid === 'string' ? kid : undefined
  } catch {
    return undefined
  }
}

/** The keys that still verify, oldest first; those that do not are removed. */
async function load(records: Records, now: number): Promise<Key[]> {
  const rows = await records.scan(SIGNING_KEYS, 'keys', { limit: MAX_KEYS })
  const over = rows.filter(({ row }) => now - row.createdAt > VERIFIES_MS)
  if (over.length > 0) await records.write(over.map(({ partition, key }) => remove(SIGNING_KEYS, partition, key)))
  return rows
    .filter(found => !over.includes(found))
    .map(({ key, row }) => ({ id: key, secret: createSecretKey(row.secret, 'base64url'), createdAt: row.createdAt }))
    .sort((a, b) => a.createdAt - b.createdAt)
}

async function makeKey(records: Records, clock: Clock, random: Random): Promise<Key> {
  const id = Buffer.from(random.bytes(9)).toString('base64url')
  const secret = Buffer.from(random.bytes(32))
  const createdAt = clock.now()
  const row: SigningKeyRow = { secret: secret.toString('base64url'), createdAt }
  await records.write([put(SIGNING_KEYS, 'keys', id, row, 0)])
  return { id, secret: createSecretKey(secret), createdAt }
}
