/** Sessions: whose they are, what they keep, and who takes them over. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { entryOf, type Person } from './support/person.ts'
import { TestServer } from './support/server.ts'

const say = async (from: Person, to: Person, text: string) => {
  const { status } = await from.api('POST', `/users/${to.user}/messages`, { text })
  assert.equal(status, 201)
}

test('two users with the same client id do not disturb each other', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  const his = await bob.connect(4, { clientId: 'same' })
  const hers = await alice.connect(5, { clientId: 'same' })
  await his.subscribe(bob.inbox)
  await hers.subscribe(alice.inbox)
  await say(alice, bob, 'hi')
  assert.equal(entryOf(await his.next('publish')).text, 'hi')
  assert.equal(entryOf(await hers.next('publish')).text, 'hi')
})

test('a second connection takes the session over, and the first is told', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  const first = await bob.connect(5)
  await first.subscribe(bob.inbox)
  await say(alice, bob, 'one')
  const unacked = await first.next('publish')
  const second = await bob.connect(5)
  assert.equal((await first.next('disconnect')).code, 0x8e)
  await first.closed
  assert.equal(entryOf(unacked).text, 'one')
  await say(alice, bob, 'two')
  assert.equal(entryOf(await second.next('publish', ({ payload }) => payload.includes('two'))).text, 'two')
})

for (const version of [4, 5] as const)
  test(`what a crash brings again comes with DUP, and what is new without (${version})`, async t => {
    const server = await TestServer.start(t)
    const { alice, bob } = await server.people('alice', 'bob')
    const first = await bob.connect(version)
    await first.subscribe(bob.inbox)
    first.wire.acknowledges = false
    for (const text of ['one', 'two']) await say(alice, bob, text)
    for (const text of ['one', 'two']) assert.equal(entryOf(await first.next('publish')).text, text)
    await server.kill()
    await server.start()
    const second = await bob.connect(version)
    for (const text of ['one', 'two']) {
      const again = await second.next('publish')
      assert.deepEqual([entryOf(again).text, again.dup], [text, true])
    }
    await say(alice, bob, 'three')
    const fresh = await second.next('publish')
    assert.deepEqual([entryOf(fresh).text, fresh.dup], ['three', false])
  })

test('what was in flight goes out first on resume, with its id and DUP', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  for (const version of [4, 5] as const) {
    const first = await bob.connect(version, { clientId: `v${version}` })
    first.wire.acknowledges = false
    await first.subscribe(bob.inbox)
    for (const text of ['1', '2', '3']) await say(alice, bob, text)
    const sent = [await first.next('publish'), await first.next('publish'), await first.next('publish')]
    first.ack('puback', sent[1]?.id ?? 0)
    await first.ping()
    await first.cut()
    await say(alice, bob, '4')
    const second = await bob.connect(version, { clientId: `v${version}` })
    const [a, b, c] = [await second.next('publish'), await second.next('publish'), await second.next('publish')]
    assert.deepEqual(
      [a, b, c].map(packet => entryOf(packet).text),
      ['1', '3', '4'],
    )
    assert.deepEqual(
      [a, b, c].map(({ dup }) => dup),
      [true, true, false],
    )
    assert.deepEqual([a.id, b.id], [sent[0]?.id, sent[2]?.id])
    await second.disconnect()
  }
})

test('a session survives a restart of the server, and its expiry too', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  const lasting = await bob.connect(4, { clientId: 'lasting' })
  await lasting.subscribe(bob.inbox)
  const short = await bob.connect(5, { clientId: 'short', properties: { sessionExpiryInterval: 1 } })
  await short.subscribe(bob.inbox)
  await Promise.all([lasting.disconnect(), short.disconnect()])
  await say(alice, bob, 'while away')
  assert.equal(await server.stop(), 0)
  await server.start()
  const back = await bob.connect(4, { clientId: 'lasting' })
  assert.equal(entryOf(await back.next('publish')).text, 'while away')
  // Its life is what is tested: one second.
  await new Promise(resolve => setTimeout(resolve, 1_100))
  const gone = await bob.connect(5, { clientId: 'short' })
  const connack = gone.packets.find(({ type }) => type === 'connack')
  assert.equal(connack && 'sessionPresent' in connack && connack.sessionPresent, false)
})

test('Session Present says whether there is a session, with or without filters', async t => {
  const server = await TestServer.start(t)
  const { bob } = await server.people('bob')
  for (const version of [4, 5] as const) {
    const present = async (clean: boolean) => {
      const script = await bob.connect(version, { clientId: `p${version}`, clean })
      const connack = script.packets[0]
      await script.disconnect()
      return connack?.type === 'connack' && connack.sessionPresent
    }
    assert.deepEqual(
      [await present(false), await present(false), await present(true), await present(false)],
      [false, true, false, version === 5],
    )
  }
})

test('an empty client id is assigned in MQTT 5, and refused with 2 in 3.1.1 without clean session', async t => {
  const server = await TestServer.start(t)
  const { bob } = await server.people('bob')
  const five = await bob.connect(5, { clientId: '' })
  const connack = five.packets[0]
  const assigned = connack?.type === 'connack' ? connack.properties?.assignedClientIdentifier : undefined
  assert.ok(assigned)
  await five.subscribe(bob.inbox)
  await five.cut()
  const again = await bob.connect(5, { clientId: assigned })
  assert.ok(again.packets[0]?.type === 'connack' && again.packets[0].sessionPresent)
  await assert.rejects(bob.connect(4, { clientId: '', clean: false }), { code: 2 })
  await (await bob.connect(4, { clientId: '', clean: true })).ping()
})

test('a will is told when a connection is cut, not at DISCONNECT', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  await alice.group('ops', bob)
  const ears = await alice.connect(5)
  await ears.subscribe(alice.inbox)
  const will = { topic: 'im/g/ops/send', payload: 'bob is gone', qos: 1 as const }
  const polite = await bob.connect(4, { will: { ...will, payload: 'never told' } })
  await polite.disconnect()
  const rude = await bob.connect(4, { will })
  await rude.cut()
  assert.equal(entryOf(await ears.next('publish')).text, 'bob is gone')
  await assert.rejects(bob.connect(5, { will: { ...will, topic: 'im/g/other/send' } }), { code: 0x87 })
})
