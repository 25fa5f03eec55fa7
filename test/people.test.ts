/** Profiles, and finding people. */
import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { placesOf } from '../core/accounts/names.ts'
import type { Request } from '../protocol/operations.ts'
import { as, type House, house, PASSWORD, refused, register } from './support/accounts.ts'

const plain = { hash: async (text: string) => text, verify: async (held?: string, text?: string) => held === text }

async function found(at: House, token: string, q: string, limit = 20) {
  const users: string[] = []
  let pages = 0
  let cursor: string | undefined
  do {
    const page = await as(at, token, 'findUsers', { q, limit, ...(cursor && { cursor }) } as Request<'findUsers'>)
    users.push(...page.items.map(({ user }) => user))
    pages++
    cursor = page.next
  } while (cursor)
  return { users, pages }
}

test('a profile is changed field by field, and null takes a field away', async t => {
  const at = await house(t)
  const { accessToken } = await register(at, 'alice')
  await as(at, accessToken, 'updateMe', { avatar: 'https://example.org/a.png', about: 'hello' })
  await as(at, accessToken, 'updateMe', { name: 'Alice' })
  const alice = { user: 'alice', name: 'Alice', avatar: 'https://example.org/a.png', about: 'hello' }
  assert.deepEqual(await as(at, accessToken, 'getMe', {}), alice)
  const { avatar: _, ...bare } = alice
  assert.deepEqual(await as(at, accessToken, 'updateMe', { avatar: null }), bare)
  assert.deepEqual(at.told.events.at(-1), { user: 'alice', event: { kind: 'changed', what: 'profile' } })
  const bob = await register(at, 'bob')
  assert.deepEqual(await as(at, bob.accessToken, 'getUser', { user: 'alice' } as Request<'getUser'>), bare)
  await refused('no-such-user', as(at, bob.accessToken, 'getUser', { user: 'nobody' } as Request<'getUser'>))
  await refused('malformed', as(at, accessToken, 'updateMe', { name: '' }))
})

test('changes of one profile at the same moment are all kept', async t => {
  const at = await house(t)
  const { accessToken } = await register(at, 'alice')
  await Promise.all([
    as(at, accessToken, 'updateMe', { name: 'Alice' }),
    as(at, accessToken, 'updateMe', { about: 'hello' }),
    as(at, accessToken, 'updateMe', { avatar: 'a.png' }),
  ])
  const me = await as(at, accessToken, 'getMe', {})
  assert.deepEqual(me, { user: 'alice', name: 'Alice', about: 'hello', avatar: 'a.png' })
})

test('people are found by the beginnings of their ids and names, in any case and without accents', async t => {
  const at = await house(t)
  const { accessToken } = await register(at, 'anna.smith', 'Ánna-María Smith')
  await register(at, 'wang', '王小明')
  await register(at, 'zoe', 'ＺＯË')
  await register(at, 'mixed', '李 Lei')
  const table: [string, string[]][] = [
    ['ann', ['anna.smith']],
    ['ANNA', ['anna.smith']],
    ['maria', ['anna.smith']],
    ['smi', ['anna.smith']],
    ['María  smith', ['anna.smith']],
    ['王', ['wang']],
    ['小明', ['wang']],
    ['明', ['wang']],
    ['zoe', ['zoe']],
    ['lei', ['mixed']],
    ['nna', []],
    ['.', []],
    ['x'.repeat(128), []],
    ['\u0301', []],
  ]
  for (const [q, users] of table) assert.deepEqual((await found(at, accessToken, q)).users, users, q)
})

test('a new name is found and the old one is not', async t => {
  const at = await house(t)
  const { accessToken } = await register(at, 'alice', 'Alice Old')
  await as(at, accessToken, 'updateMe', { name: 'Alice New' })
  assert.deepEqual((await found(at, accessToken, 'old')).users, [])
  assert.deepEqual((await found(at, accessToken, 'new')).users, ['alice'])
  assert.deepEqual((await found(at, accessToken, 'alice')).users, ['alice'])
})

test('pages hold everybody once, and the last one names no other', async t => {
  const at = await house(t, { passwords: plain })
  const { accessToken } = await register(at, 'asker', 'Zed')
  const names = Array.from({ length: 10 }, (_, i) => `bo${i}`)
  for (const name of names) await register(at, name, `Bo Bobo Bob ${name}`)
  for (const limit of [1, 2, 3, 5, 10, 11]) {
    const { users, pages } = await found(at, accessToken, 'bo', limit)
    assert.deepEqual([...users].sort(), names, `by ${limit}`)
    assert.equal(pages, Math.ceil(10 / limit), `by ${limit}`)
  }
})

test('nobody of another app is found', async t => {
  const at = await house(t)
  await at.core.accounts.ensureOwner('acme' as never, PASSWORD)
  const { accessToken } = await register(at, 'alice')
  assert.deepEqual((await found(at, accessToken, 'owner')).users, ['owner'])
})

test('however long a name is, it is kept at few places and can be a key', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 128 }), name => {
      const places = placesOf('user', name)
      assert.ok(places.length <= 17)
      for (const place of places)
        assert.ok([...place].length <= 64 && !place.includes('\0') && !place.includes('\u0001'))
    }),
    { numRuns: 300 },
  )
})
