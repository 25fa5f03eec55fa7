/** Registering, logging in and out, refresh tokens, passwords. */
import assert from 'node:assert/strict'
import test from 'node:test'
import type { Records } from '../core/ports.ts'
import { table } from '../core/ports.ts'
import type { Request } from '../protocol/operations.ts'
import {
  as,
  ask,
  codeOf,
  connect,
  DAY,
  enter,
  HOUR,
  house,
  logIn,
  PASSWORD,
  refresh,
  refused,
  register,
} from './support/accounts.ts'
import { IM } from './support/core.ts'

test('whoever registers is logged in, and is called by their id until they say otherwise', async t => {
  const at = await house(t)
  const alice = await register(at, 'alice')
  assert.deepEqual(alice.user, { user: 'alice', name: 'alice' })
  assert.equal(alice.expiresIn, 3600)
  assert.equal((await register(at, 'bob', 'Bob 王')).user.name, 'Bob 王')
  const caller = await enter(at, alice.accessToken)
  assert.ok(caller.kind === 'user')
  assert.deepEqual([caller.app, caller.user, caller.member], ['im', 'alice', 'alice'])
  assert.equal(caller.expiresAt, Math.floor((at.clock.now() + HOUR) / 1000) * 1000)
})

test('an id is given once, however many ask for it at the same moment', async t => {
  const at = await house(t)
  const codes = await Promise.all([1, 2, 3, 4, 5].map(() => codeOf(register(at, 'alice'))))
  assert.deepEqual(codes.sort(), ['id-taken', 'id-taken', 'id-taken', 'id-taken', 'ok'])
  await refused('id-taken', register(at, 'alice'))
  await refused('id-taken', register(at, 'owner'))
})

test('no account is made where registration is closed, or in an app that does not exist', async t => {
  const closed = await house(t, { settings: { registration: 'closed' } })
  await refused('registration-closed', register(closed, 'alice'))
  await logIn(closed, 'owner', 'owner of the house')
  const at = await house(t)
  const elsewhere = { user: 'alice', password: PASSWORD, app: 'acme' }
  await refused('not-allowed', ask(at, 'register', elsewhere as Request<'register'>))
  await refused('bad-credentials', ask(at, 'logIn', elsewhere as Request<'logIn'>))
})

test('the owner is made once, with a password that the rules allow', async t => {
  const at = await house(t)
  assert.equal(await at.core.accounts.ensureOwner(IM, 'another password'), false)
  await logIn(at, 'owner', 'owner of the house')
  await refused('bad-credentials', logIn(at, 'owner', 'another password'))
  const acme = 'acme' as typeof IM
  await refused('malformed', at.core.accounts.ensureOwner(acme, 'short'))
  const made = await Promise.all([1, 2, 3].map(() => at.core.accounts.ensureOwner(acme, PASSWORD)))
  assert.deepEqual(made.filter(Boolean), [true])
})

test('the same id in two apps is two people', async t => {
  const at = await house(t)
  await at.core.accounts.ensureOwner('acme' as typeof IM, PASSWORD)
  const { accessToken } = await ask(at, 'logIn', { user: 'owner', password: PASSWORD, app: 'acme' } as Request<'logIn'>)
  assert.ok((await connect(at, 'acme/owner', accessToken)).kind === 'user')
  await refused('bad-credentials', connect(at, 'owner', accessToken))
  await refused('bad-credentials', connect(at, 'im/owner', accessToken))
})

test('a password is kept to the letter', async t => {
  const at = await house(t)
  const composed = 'caf\u00e9 1234'
  await ask(at, 'register', { user: 'alice', password: composed } as Request<'register'>)
  await logIn(at, 'alice', composed)
  await refused('bad-credentials', logIn(at, 'alice', composed.normalize('NFD')))
  const zero = 'aaaaaaaa\u0000b'
  await ask(at, 'register', { user: 'zoe', password: zero } as Request<'register'>)
  await logIn(at, 'zoe', zero)
  await refused('bad-credentials', logIn(at, 'zoe', 'aaaaaaaa\u0000c'))
  const long = '密'.repeat(256)
  await ask(at, 'register', { user: 'long', password: long } as Request<'register'>)
  await logIn(at, 'long', long)
  await refused('bad-credentials', logIn(at, 'long', '密'.repeat(255)))
  for (const password of ['short77', 'x'.repeat(257), 'x'.repeat(1_000_000), 'lone \ud800 half'])
    await refused('malformed', ask(at, 'register', { user: 'carol', password } as Request<'register'>))
  await refused('malformed', logIn(at, 'alice', 'x'.repeat(257)))
})

test('what is kept of secrets does not hold them, and neither does a refusal', async t => {
  const at = await house(t)
  const alice = await register(at, 'alice')
  const { key } = await as(at, alice.accessToken, 'createKey', { name: 'script' })
  const kept = JSON.stringify([
    ...(await rows(at.storage.records, 'passwords', 'im')),
    ...(await rows(at.storage.records, 'logins', 'im/alice')),
    ...(await rows(at.storage.records, 'keys', 'im/alice')),
    ...(await rows(at.storage.records, 'users', 'im')),
  ])
  assert.match(kept, /\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  const secrets = [PASSWORD, key, key.slice(4), ...alice.refreshToken.split('/').slice(-2)]
  for (const secret of secrets) assert.ok(!kept.includes(secret))
  const fault = await refused('bad-credentials', logIn(at, 'alice', 'wrong but secret'))
  assert.ok(!JSON.stringify([fault.message, fault.details]).includes('secret'))
})

test('a refresh token is good once, and the next one goes on for 30 days', async t => {
  const at = await house(t)
  const first = await register(at, 'alice')
  at.clock.advance(20 * DAY)
  const second = await refresh(at, first.refreshToken)
  assert.notEqual(second.refreshToken, first.refreshToken)
  assert.equal(second.user.user, 'alice')
  at.clock.advance(20 * DAY)
  const third = await refresh(at, second.refreshToken)
  await enter(at, third.accessToken)
  at.clock.advance(30 * DAY)
  await refused('token-expired', refresh(at, third.refreshToken))
  await refused('token-expired', enter(at, third.accessToken))
})

test('a refresh token used twice ends the log-in, its access tokens and its connections', async t => {
  const at = await house(t)
  const first = await register(at, 'alice')
  const other = await logIn(at, 'alice')
  const second = await refresh(at, first.refreshToken)
  const caller = await enter(at, second.accessToken)
  assert.ok(caller.kind === 'user')
  await refused('token-revoked', refresh(at, first.refreshToken))
  await refused('token-revoked', refresh(at, second.refreshToken))
  await refused('token-revoked', enter(at, second.accessToken))
  await refused('token-revoked', enter(at, first.accessToken))
  await refused('token-revoked', connect(at, 'alice', second.accessToken))
  assert.deepEqual(at.told.ended[0], { member: 'alice', code: 'token-revoked', grant: caller.grant })
  await enter(at, other.accessToken)
  await refresh(at, other.refreshToken)
})

test('a refresh token used twice at the same moment leaves nobody logged in', async t => {
  const at = await house(t)
  const { refreshToken } = await register(at, 'alice')
  const results = await Promise.allSettled([1, 2, 3].map(() => refresh(at, refreshToken)))
  const given = results.flatMap(result => (result.status === 'fulfilled' ? [result.value] : []))
  assert.ok(given.length <= 1)
  for (const { accessToken, refreshToken: next } of given) {
    await refused('token-revoked', enter(at, accessToken))
    await refused('token-revoked', refresh(at, next))
  }
})

test('only who was given a token of a log-in can end it', async t => {
  const at = await house(t)
  const { refreshToken, accessToken } = await register(at, 'alice')
  await register(at, 'bob')
  const [app, user, grant, family, secret] = refreshToken.slice(4).split('/') as [
    string,
    string,
    string,
    string,
    string,
  ]
  const forged = [
    `imr_${app}/${user}/${grant}/${secret}/${family}`,
    `imr_${app}/bob/${grant}/${family}/${secret}`,
    `imr_${app}/${user}/${grant}/${family}`,
    `imr_${app}/${user}/${grant}/${family}/${secret}/x`,
    `imr_${app}/${user}/\u0000/${family}/${secret}`,
    `imr_../${user}/${grant}/${family}/${secret}`,
    'imr_',
    accessToken,
    'nonsense',
  ]
  for (const token of forged) {
    await refused('bad-credentials', refresh(at, token))
    await refused('bad-credentials', ask(at, 'logOut', { refreshToken: token }))
  }
  await enter(at, accessToken)
  await refresh(at, refreshToken)
})

test('logging out ends that log-in at once, and no other', async t => {
  const at = await house(t)
  const one = await register(at, 'alice')
  const two = await logIn(at, 'alice')
  await enter(at, one.accessToken)
  await ask(at, 'logOut', { refreshToken: one.refreshToken })
  await refused('token-revoked', enter(at, one.accessToken))
  await refused('token-revoked', refresh(at, one.refreshToken))
  assert.equal(at.told.ended.length, 1)
  await ask(at, 'logOut', { refreshToken: one.refreshToken })
  await enter(at, two.accessToken)
})

test('a changed password ends every other log-in; keys stay', async t => {
  const at = await house(t)
  const mine = await register(at, 'alice')
  const other = await logIn(at, 'alice')
  const { key } = await as(at, mine.accessToken, 'createKey', { name: 'script' })
  const change = { password: PASSWORD, newPassword: 'battery staple' }
  await refused('bad-credentials', as(at, mine.accessToken, 'changePassword', { ...change, password: 'wrong one' }))
  await enter(at, other.accessToken)
  await as(at, mine.accessToken, 'changePassword', change)
  await refused('token-revoked', enter(at, other.accessToken))
  await refused('token-revoked', refresh(at, other.refreshToken))
  await enter(at, mine.accessToken)
  await enter(at, key)
  const next = await refresh(at, mine.refreshToken)
  await refused('bad-credentials', logIn(at, 'alice'))
  await logIn(at, 'alice', 'battery staple')
  // A key is no log-in: changed with it, all of them end.
  await as(at, key, 'changePassword', { password: 'battery staple', newPassword: PASSWORD })
  await refused('token-revoked', enter(at, next.accessToken))
  await enter(at, key)
})

test('no log-in with the old password outlives its change', async t => {
  const at = await house(t)
  const mine = await register(at, 'alice')
  const change = as(at, mine.accessToken, 'changePassword', { password: PASSWORD, newPassword: 'battery staple' })
  const others = await Promise.allSettled([1, 2, 3, 4, 5, 6].map(() => logIn(at, 'alice')))
  await change
  for (const other of others)
    if (other.status === 'fulfilled') await refused('token-revoked', enter(at, other.value.accessToken))
})

test('of very many log-ins the oldest ends', async t => {
  const plain = { hash: async (text: string) => text, verify: async (held?: string, text?: string) => held === text }
  const at = await house(t, { passwords: plain })
  const first = await register(at, 'alice')
  at.clock.advance(1)
  const second = await logIn(at, 'alice')
  at.clock.advance(1)
  for (let i = 0; i < 498; i++) await logIn(at, 'alice')
  await enter(at, first.accessToken)
  await logIn(at, 'alice')
  await refused('token-revoked', enter(at, first.accessToken))
  await enter(at, second.accessToken)
  assert.equal(at.told.ended.length, 1)
})

async function rows(records: Records, name: string, partition: string) {
  return records.scan(table<object>(name), partition, { limit: 100 })
}
