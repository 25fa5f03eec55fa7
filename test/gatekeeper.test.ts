/** Who is let in, by which secret, under which name. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import jwt from 'jsonwebtoken'
import { put, table } from '../core/ports.ts'
import type { Request } from '../protocol/operations.ts'
import { openTokens } from '../server/tokens.ts'
import {
  as,
  codeOf,
  connect,
  DAY,
  enter,
  HOUR,
  type House,
  house,
  logIn,
  PASSWORD,
  random,
  refused,
  register,
} from './support/accounts.ts'
import { IM } from './support/core.ts'

const device = async (at: House, token: string, id: string) =>
  as(at, token, 'createDevice', { device: id } as Request<'createDevice'>)

test('a token, a key and a device key each open what is theirs', async t => {
  const at = await house(t)
  const { accessToken, refreshToken } = await register(at, 'alice')
  const bob = await register(at, 'bob')
  const { key, id } = await as(at, accessToken, 'createKey', { name: 'script' })
  const pump = await device(at, accessToken, 'pump-1')
  await device(at, accessToken, 'pump-2')
  assert.match(key, /^imk_[\w-]{43}$/)
  assert.match(pump.key, /^imd_[\w-]{43}$/)

  const rows: [username: string, secret: string, outcome: string][] = [
    ['alice', accessToken, 'ok'],
    ['im/alice', accessToken, 'ok'],
    ['alice', key, 'ok'],
    ['im/alice', key, 'ok'],
    ['im/d/pump-1', pump.key, 'ok'],
    ['alice', PASSWORD, 'bad-credentials'],
    ['alice', refreshToken, 'bad-credentials'],
    ['alice', bob.accessToken, 'bad-credentials'],
    ['bob', accessToken, 'bad-credentials'],
    ['bob', key, 'bad-credentials'],
    ['other/alice', accessToken, 'bad-credentials'],
    ['alice', pump.key, 'bad-credentials'],
    ['im/d/pump-1', accessToken, 'bad-credentials'],
    ['im/d/pump-1', key, 'bad-credentials'],
    ['im/d/pump-2', pump.key, 'bad-credentials'],
    ['im/d/none', pump.key, 'bad-credentials'],
    ['d/pump-1', pump.key, 'bad-credentials'],
    ['pump-1', pump.key, 'bad-credentials'],
    ['', accessToken, 'bad-credentials'],
    ['Alice', accessToken, 'bad-credentials'],
    ['im/alice/', accessToken, 'bad-credentials'],
    ['im/x/alice', accessToken, 'bad-credentials'],
    ['im/d/pump-1/x', pump.key, 'bad-credentials'],
    ['__proto__', accessToken, 'bad-credentials'],
    ['alice', '', 'bad-credentials'],
    ['alice', 'imk_', 'bad-credentials'],
    ['alice', `${key}x`, 'bad-credentials'],
    ['alice', 'x'.repeat(1_000_000), 'bad-credentials'],
  ]
  for (const [username, secret, outcome] of rows)
    assert.equal(await codeOf(connect(at, username, secret)), outcome, `${username} ${secret.slice(0, 20)}`)

  const thing = await enter(at, pump.key)
  assert.ok(thing.kind === 'device')
  assert.deepEqual([thing.app, thing.device, thing.member], ['im', 'pump-1', 'd:pump-1'])
  const script = await enter(at, key)
  assert.ok(script.kind === 'user')
  assert.deepEqual([script.user, script.grant, script.expiresAt], ['alice', `key:${id}`, undefined])
  for (const token of [refreshToken, PASSWORD, '', 'imd_', 'a.b.c']) await refused('bad-credentials', enter(at, token))
})

test('a key is shown once, listed without its secret, and ends when it is deleted', async t => {
  const at = await house(t)
  const { accessToken } = await register(at, 'alice')
  const bob = await register(at, 'bob')
  const one = await as(at, accessToken, 'createKey', { name: 'one' })
  const two = await as(at, accessToken, 'createKey', { name: 'two' })
  const { items } = await as(at, accessToken, 'listKeys', {})
  assert.deepEqual(items.map(({ name }) => name).sort(), ['one', 'two'])
  for (const item of items) assert.deepEqual(Object.keys(item).sort(), ['createdAt', 'id', 'name'])
  assert.deepEqual((await as(at, bob.accessToken, 'listKeys', {})).items, [])

  for (const id of [one.id, 'nonsense', '\u0000'])
    await refused('no-such-key', as(at, bob.accessToken, 'deleteKey', { id }))
  await enter(at, one.key)
  await as(at, accessToken, 'deleteKey', { id: one.id })
  await refused('bad-credentials', enter(at, one.key))
  await refused('bad-credentials', connect(at, 'alice', one.key))
  assert.deepEqual(at.told.ended, [{ member: 'alice', code: 'token-revoked', grant: `key:${one.id}` }])
  await enter(at, two.key)
  await refused('no-such-key', as(at, accessToken, 'deleteKey', { id: one.id }))
})

test('an account has so many keys and no more, also when they are made at the same moment', async t => {
  const at = await house(t)
  const { accessToken } = await register(at, 'alice')
  const make = () => as(at, accessToken, 'createKey', { name: 'k' })
  const codes = await Promise.all([1, 2, 3, 4, 5].map(() => codeOf(make())))
  assert.deepEqual(codes.sort(), ['ok', 'ok', 'ok', 'too-many-keys', 'too-many-keys'])
  const { items } = await as(at, accessToken, 'listKeys', {})
  const ids = items.map(({ id }) => id)
  assert.equal(ids.length, 3)
  const deleted = await Promise.all(
    [ids[0], ids[0], ids[0]].map(id => codeOf(as(at, accessToken, 'deleteKey', { id: id as string }))),
  )
  assert.deepEqual(deleted.sort(), ['no-such-key', 'no-such-key', 'ok'])
  await make()
  await refused('too-many-keys', make())
})

test('a device whose key is renewed or which is deleted is let in no more by the old one', async t => {
  const at = await house(t)
  const { accessToken } = await register(at, 'alice')
  const old = await device(at, accessToken, 'pump-1')
  const update = { device: 'pump-1', renewKey: true } as Request<'updateDevice'>
  const { key } = await as(at, accessToken, 'updateDevice', update)
  await refused('bad-credentials', connect(at, 'im/d/pump-1', old.key))
  await refused('bad-credentials', enter(at, old.key))
  await connect(at, 'im/d/pump-1', key as string)
  await as(at, accessToken, 'deleteDevice', { device: 'pump-1' } as Request<'deleteDevice'>)
  await refused('bad-credentials', connect(at, 'im/d/pump-1', key as string))
  await refused('bad-credentials', enter(at, key as string))
})

test('only what was signed here, as it is signed here, is a token', async t => {
  const at = await house(t)
  const { accessToken } = await register(at, 'alice')
  const [header = '', payload = '', signature = ''] = accessToken.split('.')
  const { kid } = JSON.parse(Buffer.from(header, 'base64url').toString()) as { kid: string }
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const owner = part({ ...claims, sub: 'owner' })
  const forged = [
    jwt.sign(claims, 'another secret of enough bytes, truly', { algorithm: 'HS256', keyid: kid }),
    jwt.sign(claims, 'another secret of enough bytes, truly', { algorithm: 'HS256', keyid: 'unknown' }),
    jwt.sign(claims, 'another secret of enough bytes, truly', { algorithm: 'HS512', keyid: kid }),
    jwt.sign(claims, '', { algorithm: 'none', keyid: kid }),
    `${part({ alg: 'none', typ: 'JWT', kid })}.${payload}.`,
    `${part({ alg: 'NONE', typ: 'JWT', kid })}.${payload}.${signature}`,
    `${part({ alg: 'HS256', typ: 'JWT' })}.${payload}.${signature}`,
    `${part({ alg: 'HS256', typ: 'JWT', kid: '__proto__' })}.${payload}.${signature}`,
    `${header}.${owner}.${signature}`,
    `${header}.${payload}.`,
    `${header}.${payload}`,
    `${header}.${payload}.${signature}x`,
    `.${payload}.${signature}`,
  ]
  for (const token of forged) {
    await refused('bad-credentials', enter(at, token))
    await refused('bad-credentials', connect(at, 'owner', token))
  }
  await enter(at, accessToken)
})

test('a token is checked in a small part of a millisecond', async t => {
  const at = await house(t)
  const { accessToken } = await register(at, 'alice')
  for (let i = 0; i < 200; i++) at.tokens.verify(accessToken)
  const from = process.cpuUsage()
  for (let i = 0; i < 1_000; i++) at.tokens.verify(accessToken)
  const { user, system } = process.cpuUsage(from)
  // Of this process, whatever else the machine does.
  assert.ok(user + system < 100_000, `${(user + system) / 1_000} µs each`)
})

test('a token ends when it says, and is refused as expired', async t => {
  const at = await house(t)
  const { accessToken } = await register(at, 'alice')
  at.clock.advance(HOUR - 1_000)
  await enter(at, accessToken)
  at.clock.advance(1_000)
  await refused('token-expired', enter(at, accessToken))
  await refused('token-expired', connect(at, 'alice', accessToken))
})

test('what another server signs with a key of its own is good here, too', async t => {
  const at = await house(t)
  const needs = { records: at.storage.records, scheduler: at.clock, random }
  const [here, there] = await Promise.all([openTokens(needs), openTokens(needs)])
  at.clock.advance(90 * DAY + 1)
  const sign = () => there.sign({ app: IM, user: 'alice' as never, grant: 'g', expiresAt: at.clock.now() + HOUR })
  const kid = (token: string) => jwt.decode(token, { complete: true })?.header.kid
  const before = sign()
  while (kid(sign()) === kid(before)) await new Promise(resolve => setImmediate(resolve))
  assert.equal((await here.verify(sign())).user, 'alice')
})

test('keys that sign outlive a restart, change after 90 days, and go when their last token has ended', async t => {
  const at = await house(t)
  const needs = { records: at.storage.records, scheduler: at.clock, random }
  const claims = { app: IM, user: 'alice' as never, grant: 'g' }
  const sign = () => at.tokens.sign({ ...claims, expiresAt: Math.floor(at.clock.now() / 1000) * 1000 + HOUR })
  const kid = (token: string) => jwt.decode(token, { complete: true })?.header.kid
  const before = sign()
  assert.equal((await (await openTokens(needs)).verify(before)).user, 'alice')

  at.clock.advance(90 * DAY + 1)
  const last = sign()
  while (kid(sign()) === kid(before)) await new Promise(resolve => setImmediate(resolve))
  assert.equal((await at.tokens.verify(last)).user, 'alice')
  const restarted = await openTokens(needs)
  assert.equal((await restarted.verify(last)).user, 'alice')
  assert.equal((await restarted.verify(sign())).user, 'alice')

  at.clock.advance(2 * DAY)
  await openTokens(needs)
  const keys = await at.storage.records.scan(table<object>('signing-keys'), 'keys', { limit: 10 })
  assert.equal(keys.length, 1)
})

test('what another process ends is let in for some seconds at most', async t => {
  const at = await house(t)
  const { accessToken } = await register(at, 'alice')
  const caller = await enter(at, accessToken)
  assert.ok(caller.kind === 'user')
  const logins = table<object>('logins')
  const found = await at.storage.records.get(logins, 'im/alice', caller.grant)
  const revoked = { ...found?.row, revokedAt: at.clock.now() }
  await at.storage.records.write([put(logins, 'im/alice', caller.grant, revoked)])
  at.clock.advance(5_000)
  await refused('token-revoked', enter(at, accessToken))
})

test('a device key is found by its hash, never by its text', async t => {
  const at = await house(t)
  const { accessToken } = await logIn(at, 'owner', 'owner of the house')
  const { key } = await device(at, accessToken, 'pump-1')
  const kept = await at.storage.records.get(table<{ hash: string }>('device-keys'), 'im', 'pump-1')
  assert.equal(kept?.row.hash, createHash('sha256').update(key).digest('hex'))
})
