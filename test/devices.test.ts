/** Devices: registered once, in step with their group, speaking only for themselves; their newest values. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DeviceId, GroupId, Member, UserId } from '../protocol/ids.ts'
import { type Asking, IM, people, thing, type World, world } from './support/core.ts'

const pump = 'pump-1' as DeviceId
const ops = 'ops' as GroupId
const users = (...names: string[]) => names as UserId[]
async function group(owner: Asking, ...names: string[]) {
  await owner.ask('createGroup', { group: ops, name: 'Ops', ...(names.length > 0 && { members: users(...names) }) })
}
async function values({ core }: World, member: string, filter: string) {
  const { items } = await core.retained.of(IM, member as Member, filter)
  return items.map(({ topic, payload }) => `${topic} ${Buffer.from(payload).toString('latin1')}`)
}

test('a device belongs to whoever registers it, and connects with the key that is shown once', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob')

  const { key, ...device } = await alice.ask('createDevice', { device: pump, name: 'Pump' })

  assert.deepEqual(
    { ...device, createdAt: 0 },
    { device: 'pump-1', conversation: 'd:pump-1', name: 'Pump', owner: 'alice', createdAt: 0 },
  )
  const caller = await w.core.gatekeeper.connect('im/d/pump-1', key, '127.0.0.1')
  assert.equal(caller.kind === 'device' && caller.device, 'pump-1')
  assert.deepEqual(await alice.ask('getDevice', { device: pump }), device)
  await bob.refused('not-a-member', 'getDevice', { device: pump })
  await bob.refused('id-taken', 'createDevice', { device: pump })
  await bob.refused('no-such-device', 'getDevice', { device: 'none' as DeviceId })
  assert.deepEqual((await alice.ask('listDevices', {})).items, [device])
  assert.deepEqual((await bob.ask('listDevices', {})).items, [])
})

test('an alert of a device is a message to its owner and to the members of its group', async t => {
  const w = await world(t)
  const { alice, bob, carol } = await people(w, 'alice', 'bob', 'carol')
  await group(alice, 'bob')
  await alice.ask('createDevice', { device: pump, group: ops })

  const alert = await thing(w.core, 'pump-1').ask('sendAlert', { device: pump, text: 'too hot' })

  assert.deepEqual([alert.kind, alert.type, alert.severity, alert.from], ['message', 'alert', 'warning', 'd:pump-1'])
  for (const one of [alice, bob]) {
    assert.deepEqual((await one.says('d:pump-1')).at(-1), '2 d:pump-1: too hot')
    assert.equal(await one.unread('d:pump-1'), 1)
  }
  const { items } = await bob.ask('listConversations', {})
  assert.ok(items.some(({ conversation, name }) => conversation === 'd:pump-1' && name === 'pump-1'))
  await carol.refused('not-a-member', 'listMessages', { conversation: 'd:pump-1' })
})

test('only owner and admins of a group give it a device', async t => {
  const w = await world(t)
  const { alice, bob, carol } = await people(w, 'alice', 'bob', 'carol')
  await group(alice, 'bob')

  await bob.refused('not-allowed', 'createDevice', { device: pump, group: ops })
  await carol.refused('not-a-member', 'createDevice', { device: pump, group: ops })
  await carol.refused('no-such-group', 'createDevice', { device: pump, group: 'none' as GroupId })
  await alice.ask('updateMember', { group: ops, user: 'bob' as UserId, role: 'admin' })
  await bob.ask('createDevice', { device: pump, group: ops })
})

test('who joins, leaves or loses the group joins, leaves or loses its devices, the owner of a device excepted', async t => {
  const w = await world(t)
  const { alice, bob, carol } = await people(w, 'alice', 'bob', 'carol')
  await group(alice, 'bob')
  await alice.ask('createDevice', { device: pump, group: ops })
  const device = thing(w.core, 'pump-1')
  await device.ask('sendAlert', { device: pump, text: 'one' })

  await alice.ask('addMembers', { group: ops, members: users('carol') })
  await alice.ask('removeMember', { group: ops, user: 'bob' as UserId })
  await device.ask('sendAlert', { device: pump, text: 'two' })

  assert.deepEqual(await carol.says('d:pump-1'), ['3 alice added carol', '4 alice removed bob', '5 d:pump-1: two'])
  await bob.refused('not-a-member', 'listMessages', { conversation: 'd:pump-1' })
  await bob.refused('not-a-member', 'sendMessage', { conversation: 'd:pump-1', text: 'x' } as never)
  await alice.ask('dismissGroup', { group: ops })
  await carol.refused('not-a-member', 'getDevice', { device: pump })
  assert.equal((await alice.says('d:pump-1')).at(-1), '6 alice removed carol')
})

test('a device registered while members come and go has exactly the members of the group', async t => {
  // The device's first entry is held back for as long as others need to change the group, if they can.
  const turnsOf = async (count: number) => {
    for (let i = 0; i < count; i++) await new Promise(setImmediate)
  }
  const w = await world(t, {
    before: (key, { body }) => (key === 'im/d:pump-1' && body.action === 'created' ? turnsOf(50) : undefined),
  })
  const names = ['alice', 'bob', 'carol'] as const
  const { alice } = await people(w, ...names)
  await group(alice, 'bob')

  const made = alice.ask('createDevice', { device: pump, group: ops })
  await turnsOf(5)
  await Promise.all([
    made,
    alice.ask('addMembers', { group: ops, members: users('carol') }),
    alice.ask('removeMember', { group: ops, user: 'bob' as UserId }),
  ])

  const isIn = async (name: string) =>
    (await w.core.memberships.get(IM, name as Member, 'd:pump-1' as never)) !== undefined
  assert.deepEqual(await Promise.all(names.map(isIn)), [true, false, true])
})

test('a device speaks for itself only, and commands and results are entries of its conversation', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob')
  await alice.ask('createDevice', { device: pump })
  await alice.ask('createDevice', { device: 'pump-2' as DeviceId })
  const device = thing(w.core, 'pump-1')

  const command = await alice.ask('sendCommand', { device: pump, command: 'stop', data: { now: true } })
  await device.ask('sendResult', { device: pump, replyTo: command.seq, text: 'stopped' })

  assert.deepEqual((await alice.says('d:pump-1')).slice(1), ['2 alice command stop', '3 d:pump-1 result stopped'])
  assert.equal(await alice.unread('d:pump-1'), 0)
  await device.refused('not-allowed', 'sendAlert', { device: 'pump-2' as DeviceId, text: 'x' })
  await device.refused('not-allowed', 'sendTelemetry', { device: 'pump-2' as DeviceId, value: '1' })
  await device.refused('not-allowed', 'sendCommand', { device: pump, command: 'x' })
  await device.refused('not-allowed', 'createGroup', { name: 'x' })
  await device.refused('not-a-member', 'listMessages', { conversation: 'd:pump-2' })
  await alice.refused('not-allowed', 'sendAlert', { device: pump, text: 'x' })
  await bob.refused('not-a-member', 'sendCommand', { device: pump, command: 'x' })
  await bob.refused('no-such-device', 'sendCommand', { device: 'none' as DeviceId, command: 'x' })
})

test('the newest value is kept as sent, over a restart, for whoever is with the device', async t => {
  const w = await world(t)
  await people(w, 'bob')
  const { alice } = await people(w, 'alice')
  for (const device of ['pump-1', 'pump-2', 'silent']) await alice.ask('createDevice', { device: device as DeviceId })
  const bytes = Buffer.from([0, 255, 10, 128])
  await thing(w.core, 'pump-1').ask('sendTelemetry', { device: pump, value: 'old' })
  await thing(w.core, 'pump-1').ask('sendTelemetry', {
    device: pump,
    value: bytes.toString('base64'),
    encoding: 'base64',
  })
  await thing(w.core, 'pump-2').ask('sendTelemetry', { device: 'pump-2' as DeviceId, value: '21.5' })

  const first = `im/d/pump-1/last ${bytes.toString('latin1')}`
  const second = 'im/d/pump-2/last 21.5'
  assert.deepEqual(
    w.told.values.map(({ topic, payload }) => `${topic} ${payload}`),
    ['im/d/pump-1/last old', first, second],
  )
  const core = await w.restart()
  const again = { ...w, core }
  // biome-ignore format: a table, a row a line
  for (const [member, filter, expected] of [
    ['alice', 'im/d/+/last', [first, second]], ['alice', '#', [first, second]], ['alice', 'im/d/pump-2/+', [second]],
    ['alice', 'im/d/pump-1/last', [first]], ['alice', 'im/d/silent/last', []], ['alice', 'im/u/+/inbox', []],
    ['alice', 'other/d/+/last', []], ['alice', 'other/d/pump-1/last', []], ['bob', 'im/d/+/last', []],
    ['bob', 'im/d/pump-1/last', []], ['d:pump-1', 'im/d/+/last', [first]], ['d:pump-1', 'im/d/pump-2/last', []],
  ] as const) assert.deepEqual(await values(again, member, filter), expected, `${member} ${filter}`)
  await core[Symbol.asyncDispose]()
})

test('values that are no value are refused', async t => {
  const w = await world(t)
  const { alice } = await people(w, 'alice')
  await alice.ask('createDevice', { device: pump })
  const device = thing(w.core, 'pump-1')
  const largest = Buffer.alloc(64 * 1024, 255).toString('base64')

  await device.ask('sendTelemetry', { device: pump, value: largest, encoding: 'base64' })
  await device.refused('too-large', 'sendTelemetry', { device: pump, value: `${'é'.repeat(32 * 1024)}x` })
  const larger = Buffer.alloc(64 * 1024 + 1).toString('base64')
  await device.refused('too-large', 'sendTelemetry', { device: pump, value: larger, encoding: 'base64' })
  await device.refused('malformed', 'sendTelemetry', { device: pump, value: 'not base64!', encoding: 'base64' })
})

test('a new key ends the old one and its connections', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob')
  await group(alice, 'bob')
  const { key } = await alice.ask('createDevice', { device: pump, group: ops })
  await bob.refused('not-allowed', 'updateDevice', { device: pump, renewKey: true })

  const renewed = await alice.ask('updateDevice', { device: pump, name: 'New pump', renewKey: true })

  assert.equal(renewed.name, 'New pump')
  assert.deepEqual(w.told.ended, [{ member: 'd:pump-1', code: 'token-revoked' }])
  await assert.rejects(w.core.gatekeeper.connect('im/d/pump-1', key, '127.0.0.1'), { code: 'bad-credentials' })
  await w.core.gatekeeper.connect('im/d/pump-1', renewed.key as string, '127.0.0.1')
  assert.equal('key' in (await alice.ask('updateDevice', { device: pump, name: 'Pump' })), false)
})

test('a deleted device is gone at once, its history stays for its members, and its id is not given again', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob')
  await group(alice, 'bob')
  const { key } = await alice.ask('createDevice', { device: pump, group: ops })
  const device = thing(w.core, 'pump-1')
  await device.ask('sendAlert', { device: pump, text: 'last words' })
  await device.ask('sendTelemetry', { device: pump, value: '1' })
  await bob.refused('not-allowed', 'deleteDevice', { device: pump })

  await alice.ask('deleteDevice', { device: pump })

  await assert.rejects(w.core.gatekeeper.connect('im/d/pump-1', key, '127.0.0.1'), { code: 'bad-credentials' })
  assert.deepEqual(w.told.ended, [{ member: 'd:pump-1', code: 'token-revoked' }])
  assert.deepEqual(w.told.values.at(-1), { topic: 'im/d/pump-1/last', payload: '' })
  assert.deepEqual(await values(w, 'alice', 'im/d/+/last'), [])
  await device.refused('no-such-device', 'sendAlert', { device: pump, text: 'x' })
  await bob.refused('no-such-device', 'sendMessage', { conversation: 'd:pump-1', text: 'x' } as never)
  await bob.refused('no-such-device', 'sendCommand', { device: pump, command: 'x' })
  await alice.refused('no-such-device', 'getDevice', { device: pump })
  await alice.refused('id-taken', 'createDevice', { device: pump })
  assert.deepEqual((await alice.ask('listDevices', {})).items, [])
  assert.equal((await bob.says('d:pump-1'))[1], '2 d:pump-1: last words')
  await alice.ask('removeMember', { group: ops, user: 'bob' as UserId })
  await bob.refused('not-a-member', 'listMessages', { conversation: 'd:pump-1' })
})
