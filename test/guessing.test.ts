/** Guessing is slow, and tells nothing. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { networkOf } from '../core/accounts/attempts.ts'
import type { Passwords } from '../core/ports.ts'
import type { Request } from '../protocol/operations.ts'
import { passwords } from '../server/passwords.ts'
import { throttle } from '../server/throttle.ts'
import {
  as,
  ask,
  codeOf,
  connect,
  enter,
  house,
  logIn,
  PASSWORD,
  refresh,
  refused,
  register,
} from './support/accounts.ts'

/** Quick, and counts how often a password was looked at. */
function counting() {
  const seen: (string | undefined)[] = []
  const parts: Passwords = {
    hash: async text => `#${text}`,
    verify: async (held, text) => {
      seen.push(held)
      return held === `#${text}`
    },
  }
  return { seen, parts }
}
const far = (n: number) => `10.0.${n >> 8}.${n & 255}`

test('after ten wrong passwords an account is closed to right ones too, wherever they come from', async t => {
  const { seen, parts } = counting()
  const at = await house(t, { throttled: true, passwords: parts })
  await register(at, 'alice')
  for (let i = 0; i < 10; i++) await refused('bad-credentials', logIn(at, 'alice', 'a wrong one', far(i)))
  const looked = seen.length
  const right = await refused('too-many-requests', logIn(at, 'alice', PASSWORD, far(99)))
  const wrong = await refused('too-many-requests', logIn(at, 'alice', 'a wrong one', far(98)))
  assert.equal(seen.length, looked, 'a closed account is refused before its password is looked at')
  for (const { details } of [right, wrong]) {
    assert.deepEqual(Object.keys(details), ['retryAfterMs'])
    assert.ok((details.retryAfterMs as number) > 0 && (details.retryAfterMs as number) <= 600_000)
  }
})

test('guesses made at the same moment are counted one by one', async t => {
  const { parts } = counting()
  const at = await house(t, { throttled: true, passwords: parts })
  await register(at, 'alice')
  const codes = await Promise.all(
    Array.from({ length: 30 }, (_, i) => codeOf(logIn(at, 'alice', 'a wrong one', far(i)))),
  )
  assert.equal(codes.filter(code => code === 'bad-credentials').length, 10)
  assert.equal(codes.filter(code => code === 'too-many-requests').length, 20)
})

test('right passwords given at the same moment are not taken for guesses', async t => {
  const { parts } = counting()
  const at = await house(t, { throttled: true, passwords: parts })
  await register(at, 'alice')
  const codes = await Promise.all(Array.from({ length: 30 }, () => codeOf(logIn(at, 'alice'))))
  assert.deepEqual(new Set(codes), new Set(['ok']))
})

test('a right password begins the count anew, and gives nothing beyond it', async t => {
  const { parts } = counting()
  const at = await house(t, { throttled: true, passwords: parts })
  await register(at, 'alice')
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 9; i++) await refused('bad-credentials', logIn(at, 'alice', 'a wrong one', far(round * 9 + i)))
    await logIn(at, 'alice')
  }
  for (let i = 0; i < 10; i++) await refused('bad-credentials', logIn(at, 'alice', 'a wrong one', far(i)))
  await refused('too-many-requests', logIn(at, 'alice', 'a wrong one', far(100)))
})

test('changing the password is a guess like any other', async t => {
  const { parts } = counting()
  const at = await house(t, { throttled: true, passwords: parts })
  const { accessToken } = await register(at, 'alice')
  const change = { password: 'a wrong one', newPassword: 'battery staple' }
  for (let i = 0; i < 10; i++) await refused('bad-credentials', as(at, accessToken, 'changePassword', change))
  await refused('too-many-requests', as(at, accessToken, 'changePassword', { ...change, password: PASSWORD }))
  await refused('too-many-requests', logIn(at, 'alice', PASSWORD, far(1)))
})

test('an address has a hundred wrong passwords, over all accounts', async t => {
  const { parts } = counting()
  const at = await house(t, { throttled: true, passwords: parts })
  await register(at, 'alice')
  for (let i = 0; i < 100; i++) await refused('bad-credentials', logIn(at, `user${i}`, 'a wrong one', '10.1.1.1'))
  await refused('too-many-requests', logIn(at, 'alice', PASSWORD, '10.1.1.1'))
  await logIn(at, 'alice', PASSWORD, '10.1.1.2')
})

test('an address registers 120 accounts a minute', async t => {
  const { parts } = counting()
  const at = await house(t, { throttled: true, passwords: parts })
  const make = (user: string, address: string) =>
    ask(at, 'register', { user, password: PASSWORD } as Request<'register'>, address)
  for (let i = 0; i < 120; i++) await make(`user${i}`, '10.1.1.1')
  const { details } = await refused('too-many-requests', make('late', '10.1.1.1'))
  assert.ok((details.retryAfterMs as number) <= 60_000)
  await make('late', '10.1.1.2')
})

test('tokens that nobody was given count for the address only, and never against who was given one', async t => {
  const { parts } = counting()
  const at = await house(t, { throttled: true, passwords: parts })
  const { accessToken, refreshToken } = await register(at, 'alice')
  for (let i = 0; i < 40; i++) {
    await refused('bad-credentials', connect(at, 'alice', 'nonsense', '10.1.1.1'))
    await refused('bad-credentials', enter(at, `imk_${i}`, '10.1.1.1'))
    await refused('bad-credentials', enter(at, 'a.b.c', '10.1.1.1'))
  }
  await refused('too-many-requests', connect(at, 'alice', 'nonsense', '10.1.1.1'))
  await connect(at, 'alice', accessToken, '10.1.1.1')
  await logIn(at, 'alice', PASSWORD, '10.1.1.2')
  for (let i = 0; i < 119; i++) await refused('bad-credentials', refresh(at, 'nonsense'))
  await refused('too-many-requests', refresh(at, 'nonsense'))
  await refresh(at, refreshToken)
})

test('a token that has ended is no forgery and is not counted', async t => {
  const { parts } = counting()
  const at = await house(t, { throttled: true, passwords: parts })
  const { accessToken } = await register(at, 'alice')
  at.clock.advance(3_600_000)
  for (let i = 0; i < 200; i++) await refused('token-expired', connect(at, 'alice', accessToken))
})

test('a user that does not exist is looked at, counted and refused as one that does', async t => {
  const { seen, parts } = counting()
  const at = await house(t, { throttled: true, passwords: parts })
  await register(at, 'alice')
  const attempt = async (user: string) => {
    const faults = []
    for (let i = 0; i < 11; i++) {
      const code = i < 10 ? 'bad-credentials' : 'too-many-requests'
      const fault = await refused(code, logIn(at, user, 'a wrong one', far(i)))
      faults.push([fault.code, fault.message, Object.keys(fault.details)])
    }
    return { faults, looked: seen.splice(0).length }
  }
  assert.deepEqual(await attempt('nobody'), await attempt('alice'))
})

test('an absent password takes the work of one, whatever the first attempt met', async () => {
  const { hash, verify } = passwords()
  const held = await hash(PASSWORD)
  const flood = Array.from({ length: 400 }, () => codeOf(verify(held, 'a wrong one')))
  await refused('too-many-requests', verify(undefined, PASSWORD))
  const codes = await Promise.all(flood)
  assert.ok(codes.includes('ok') && codes.includes('too-many-requests'))
  assert.equal(await verify(undefined, PASSWORD), false)
  assert.equal(await verify(held, PASSWORD), true)
  const took = async (known?: string) => {
    const times = []
    for (let i = 0; i < 5; i++) {
      const from = process.cpuUsage()
      await verify(known, 'a wrong one')
      const { user, system } = process.cpuUsage(from)
      times.push(user + system)
    }
    return Math.min(...times)
  }
  const ratio = (await took()) / (await took(held))
  assert.ok(ratio > 0.5 && ratio < 2, `absent : present = ${ratio}`)
})

test('a window ends, and an attempt given back after it leaves no credit', async t => {
  t.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: 1_790_000_000_000 })
  const counter = throttle()
  const key = 'entrance:10.1.1.1' as const
  for (let i = 0; i < 120; i++) await counter.take(key)
  await refused('too-many-requests', counter.take(key))
  t.mock.timers.tick(60_000)
  await counter.take(key)
  t.mock.timers.tick(60_000)
  for (let i = 0; i < 5; i++) await counter.giveBack(key)
  for (let i = 0; i < 120; i++) await counter.take(key)
  await refused('too-many-requests', counter.take(key))
})

test('where one count is full nothing is taken of the others', async () => {
  const counter = throttle()
  const address = 'guesses:10.1.1.1' as const
  for (let i = 0; i < 10; i++) await counter.take('account:im/alice', address)
  for (let i = 0; i < 200; i++) await refused('too-many-requests', counter.take(address, 'account:im/alice'))
  for (let i = 0; i < 90; i++) await counter.take(address)
  await refused('too-many-requests', counter.take(address))
})

test('counts are kept of a bounded number of addresses, the latest', async () => {
  const counter = throttle(3)
  for (let i = 0; i < 120; i++) await counter.take('entrance:first')
  for (let i = 0; i < 120; i++) await counter.take('entrance:second')
  await counter.take('entrance:third')
  await refused('too-many-requests', counter.take('entrance:first'))
  await counter.take('entrance:fourth')
  await refused('too-many-requests', counter.take('entrance:first'))
  await counter.take('entrance:second')
})

test('an address of IPv6 counts as its network', () => {
  const rows: [string, string][] = [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
  ]
  for (const [address, network] of rows) assert.equal(networkOf(address), network)
})
