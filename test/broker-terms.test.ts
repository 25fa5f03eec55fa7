/** The terms that a client sets in its packets, and the server keeps: MQTT 5 properties, QoS, keep-alive, session expiry. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { subscribePacket } from '../bench/wire/packets.ts'
import { entryOf, type Person, rest } from './support/person.ts'
import { TestServer } from './support/server.ts'

const expiry = { sessionExpiryInterval: 3600 }
const say = async (from: Person, to: Person, text: string) =>
  assert.equal((await from.api('POST', `/users/${to.user}/messages`, { text })).status, 201)

test('a client that is silent for one and a half times its keep-alive is dropped, and one that pings is not', async t => {
  const server = await TestServer.start(t)
  const { bob } = await server.people('bob')
  const silent = await bob.connect(5, { clientId: 'silent', keepAlive: 1 })
  const lively = await bob.connect(4, { clientId: 'lively', keepAlive: 1 })
  const from = performance.now()
  const pings = setInterval(() => lively.send(subscribePacket(4, lively.id(), [{ filter: bob.inbox }])), 300)
  await silent.closed
  const after = performance.now() - from
  assert.ok(after > 1_200 && after < 4_000, `${after} ms`)
  clearInterval(pings)
  await lively.ping()
})

test('a Receive Maximum of 1 is kept, by entries, answers and gaps together', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  const one = await bob.connect(5, { properties: { ...expiry, receiveMaximum: 1 } })
  one.wire.acknowledges = false
  await one.subscribe([{ filter: bob.inbox }, { filter: 'im/u/bob/reply' }])
  for (const text of ['1', '2', '3']) await say(alice, bob, text)
  await one.publish({ topic: 'im/call/getMe', payload: '{"requestId":"r"}', qos: 1 })
  const got: string[] = []
  for (let i = 0; i < 4; i++) {
    const { payload, id } = await one.next('publish')
    await one.ping()
    assert.equal(one.untaken('publish').length, 0)
    const { text, kind } = entryOf({ payload })
    got.push(text ?? kind)
    one.ack('puback', id)
  }
  assert.deepEqual(
    got.filter(text => text !== 'reply'),
    ['1', '2', '3'],
  )
  assert.equal(got.length, 4)
})

test('a packet larger than the client takes comes as its envelope, or not at all', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  const small = await bob.connect(5, { properties: { ...expiry, maximumPacketSize: 400 } })
  const tiny = await bob.connect(5, { clientId: 'tiny', properties: { ...expiry, maximumPacketSize: 60 } })
  assert.deepEqual(await small.subscribe(bob.inbox), [1])
  assert.deepEqual(await tiny.subscribe(bob.inbox), [1])
  await say(alice, bob, 'x'.repeat(1_000))
  await say(alice, bob, 'short')
  const [first, second] = [entryOf(await small.next('publish')), entryOf(await small.next('publish'))]
  assert.deepEqual([first.truncated, first.text, first.seq, second.text], [true, undefined, 1, 'short'])
  const refused = await tiny.publish({ topic: 'im/g/no-such-group-at-all/send', payload: 'x', qos: 1 })
  assert.ok(refused && 'properties' in refused && refused.code >= 0x80)
  assert.equal(refused.properties.reasonString, undefined)
  await tiny.ping()
  assert.deepEqual(tiny.untaken('publish'), [])
})

test('an entry bears the identifiers of all filters that take it, at their highest QoS', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  const script = await bob.connect(5)
  await script.subscribe([{ filter: bob.inbox, qos: 0 }], { subscriptionIdentifier: 1 })
  await script.subscribe([{ filter: 'im/u/+/inbox', qos: 1 }], { subscriptionIdentifier: 200 })
  await script.subscribe([{ filter: '#', qos: 0 }], { subscriptionIdentifier: 268_435_455 })
  await script.subscribe([{ filter: 'im/#', qos: 0 }])
  await say(alice, bob, 'hi')
  const { properties, qos } = await script.next('publish', ({ topic }) => topic === bob.inbox)
  assert.equal(qos, 1)
  assert.deepEqual([...(properties.subscriptionIdentifier as number[])].sort(), [1, 200, 268_435_455])
  await script.cut()
  const again = await bob.connect(5)
  await say(alice, bob, 'again')
  const resumed = await again.next('publish', ({ payload }) => payload.includes('again'))
  assert.deepEqual([...(resumed.properties.subscriptionIdentifier as number[])].sort(), [1, 200, 268_435_455])
  assert.equal(again.untaken('publish').filter(({ payload }) => payload.includes('again')).length, 0)
})

test('a subscription at QoS 0 gets each entry once, and what came while it was away', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  const first = await bob.connect(4)
  assert.deepEqual(await first.subscribe([{ filter: bob.inbox, qos: 0 }]), [0])
  await say(alice, bob, '1')
  assert.deepEqual([(await first.next('publish')).qos], [0])
  await first.disconnect()
  await say(alice, bob, '2')
  const second = await bob.connect(4)
  await say(alice, bob, '3')
  const texts = [entryOf(await second.next('publish')).text, entryOf(await second.next('publish')).text]
  assert.deepEqual(texts, ['2', '3'])
})

test('DISCONNECT may shorten the session, and not make one of none', async t => {
  const server = await TestServer.start(t)
  const { bob } = await server.people('bob')
  const present = async () => {
    const script = await bob.connect(5)
    const [connack] = script.packets
    await script.disconnect(0, { sessionExpiryInterval: 0 })
    return connack?.type === 'connack' && connack.sessionPresent
  }
  await (await bob.connect(5)).disconnect()
  assert.equal(await present(), true)
  assert.equal(await present(), false)
  await (await bob.connect(5, { properties: { sessionExpiryInterval: 0 } })).disconnect(0, expiry)
  assert.equal(await present(), false)
})

test('Request Problem Information 0 keeps reasons out of acknowledgements', async t => {
  const server = await TestServer.start(t)
  const { bob } = await server.people('bob')
  const script = await bob.connect(5, { properties: { ...expiry, requestProblemInformation: 0 } })
  for (const qos of [1, 2] as const) {
    const ack = await script.publish({ topic: 'im/g/none/send', payload: 'x', qos })
    assert.ok(ack && 'properties' in ack && ack.code >= 0x80)
    assert.deepEqual(ack.properties, {})
  }
})

test('a refused publish at QoS 0 is told on reply', async t => {
  const server = await TestServer.start(t)
  const { bob } = await server.people('bob')
  for (const version of [4, 5] as const) {
    const script = await bob.connect(version, { clientId: `v${version}` })
    await script.subscribe('im/u/bob/reply')
    await script.publish({ topic: 'im/g/none/send', payload: '{"text":"x","clientMessageId":"m-1"}', qos: 0 })
    const { kind, code, clientMessageId } = JSON.parse((await script.next('publish')).payload.toString())
    assert.deepEqual([kind, code, clientMessageId], ['refused', 'not-a-member', 'm-1'])
  }
})

test('a revoked key and a log-out end their own connections with 0x87', async t => {
  const server = await TestServer.start(t)
  const { bob } = await server.people('bob')
  const made = (await bob.api('POST', '/me/keys', { name: 'second' })).body as { id: string; key: string }
  const byKey = await bob.connect(5, { clientId: 'key', password: made.key })
  const byToken = await bob.connect(5, { clientId: 'token', password: bob.token })
  const other = await bob.connect(5, { clientId: 'other' })
  assert.equal((await bob.api('DELETE', `/me/keys/${made.id}`)).status, 204)
  assert.equal((await byKey.next('disconnect')).code, 0x87)
  assert.ok((await rest(server, 'POST', '/v1/logout', { refreshToken: bob.refreshToken })).status < 300)
  assert.equal((await byToken.next('disconnect')).code, 0x87)
  await Promise.all([byKey.closed, byToken.closed, other.ping()])
})

test('acknowledgements of ids that are not in flight change nothing', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  for (const version of [4, 5] as const) {
    const script = await bob.connect(version, { clientId: `v${version}` })
    script.wire.acknowledges = false
    await script.subscribe(bob.inbox)
    for (const type of ['puback', 'pubrec', 'pubcomp', 'pubrel'] as const) script.ack(type, 4_711)
    await say(alice, bob, 'hi')
    const { id } = await script.next('publish')
    for (let i = 0; i < 3; i++) script.ack('puback', id)
    await script.ping()
  }
})
