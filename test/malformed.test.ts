/** Bad input gets a clear refusal with its code; the connection stays where the protocol allows it, the process always. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { packet, publishPacket } from '../bench/wire/packets.ts'
import { Script } from '../bench/wire/script.ts'
import { rest } from './support/person.ts'
import { TestServer } from './support/server.ts'

const KiB = 1024
const send = 'im/g/ops/send'
const json = (value: unknown) => JSON.stringify(value)
const deep = (levels: number) => `{"text":"x","ext":${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}}`

/** Name, payload, code, and the PUBACK of MQTT 5. */
const DRAFTS: [string, string | Buffer, string, number][] = [
  ['invalid UTF-8', Buffer.from([0x68, 0xff, 0xfe]), 'malformed', 0x99],
  ['a truncated code point', Buffer.from('日').subarray(0, 2), 'malformed', 0x99],
  ['an empty payload', '', 'malformed', 0x99],
  ['an empty text', json({ text: '' }), 'malformed', 0x99],
  ['a draft without a text', json({}), 'malformed', 0x99],
  ['a text that is a number', json({ text: 1 }), 'malformed', 0x99],
  ['an unknown type', json({ type: 'hologram', text: 'x' }), 'malformed', 0x99],
  ['an unknown field', json({ text: 'x', colour: 'red' }), 'malformed', 0x99],
  ['a field of prototypes', '{"text":"x","__proto__":{"a":1}}', 'malformed', 0x99],
  ['a field of prototypes in ext', '{"text":"x","ext":{"__proto__":{"a":1}}}', 'malformed', 0x99],
  ['a number past 2^53', '{"text":"x","ext":{"n":9007199254740993}}', 'malformed', 0x99],
  ['a number past all', '{"text":"x","ext":{"n":1e400}}', 'malformed', 0x99],
  ['deep nesting', deep(100), 'malformed', 0x99],
  ['very deep nesting', deep(20_000), 'malformed', 0x99],
  ['a lone surrogate', '{"text":"\\ud800"}', 'malformed', 0x99],
  ['a bad clientMessageId', json({ text: 'x', clientMessageId: 'with\ttab' }), 'malformed', 0x99],
  ['a text of 64 KiB + 1', 'x'.repeat(64 * KiB + 1), 'too-large', 0x97],
  ['a Chinese text of 64 KiB + 2', json({ text: '世'.repeat((64 * KiB) / 3 + 1) }), 'too-large', 0x97],
  ['an ext of 4 KiB + 1', json({ text: 'x', ext: { a: 'x'.repeat(4 * KiB) } }), 'too-large', 0x97],
  ['a draft of 256 KiB + 1', json({ text: 'x', ext: { a: 'x'.repeat(256 * KiB) } }), 'too-large', 0x97],
]

test('a draft that does not fit is refused with its code, and the next one is taken', { timeout: 60_000 }, async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  await alice.group('ops')
  const five = await alice.connect(5, { clientId: '5' })
  const four = await alice.connect(4, { clientId: '4' })
  await four.subscribe('im/u/alice/reply')
  for (const [name, payload, code, reason] of DRAFTS) {
    const ack = await five.publish({ topic: send, payload, qos: 1 })
    assert.equal(ack?.code, reason, name)
    assert.match(ack && 'properties' in ack ? (ack.properties?.reasonString ?? '') : '', new RegExp(`^${code}:`), name)
    const two = await five.publish({ topic: send, payload, qos: 2 })
    assert.deepEqual([two?.type, two?.code], ['pubrec', reason], name)
    assert.equal((await four.publish({ topic: send, payload, qos: 1 }))?.type, 'puback', name)
    const told = JSON.parse((await four.next('publish')).payload.toString())
    assert.deepEqual([told.kind, told.code, told.topic], ['refused', code, send], name)
    assert.equal(typeof told.says, 'string')
    if (typeof payload === 'string' && payload.startsWith('{')) {
      const answer = await rest(server, 'POST', '/v1/conversations/g:ops/messages', payload, alice.key)
      assert.deepEqual(
        [answer.status, (answer.body as { code: string }).code],
        [code === 'malformed' ? 400 : 413, code],
        name,
      )
    }
  }
  assert.equal((await five.publish({ topic: send, payload: 'fine', qos: 1 }))?.code, 0)
  await four.publish({
    topic: send,
    payload: json({ text: 'fine too', clientMessageId: 'a id of ~ printables' }),
    qos: 1,
  })
  const texts = (await alice.history('g:ops')).flatMap(({ text }) => text ?? [])
  assert.deepEqual(texts, ['fine', 'fine too'])
})

test('an unknown field is refused by its name, in both versions', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  await alice.group('ops')
  const publish = { topic: send, payload: json({ text: 'x', colour: 'red' }), qos: 1 as const }
  const five = await alice.connect(5, { clientId: '5' })
  const ack = await five.publish(publish)
  assert.match(ack && 'properties' in ack ? (ack.properties?.reasonString ?? '') : '', /^malformed: .*"colour"/)
  const odd = await five.publish({ ...publish, payload: json({ text: 'x', 'a\0\ud83d': 1 }) })
  assert.equal(odd?.code, 0x99)
  const four = await alice.connect(4, { clientId: '4' })
  await four.subscribe('im/u/alice/reply')
  await four.publish(publish)
  const { issues } = JSON.parse((await four.next('publish')).payload.toString())
  assert.match(issues[0].message, /"colour"/)
})

test('a draft of any type is taken up to 256 KiB as a whole, and refused above', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  await alice.group('ops')
  const script = await alice.connect()
  const custom = (bytes: number) => json({ type: 'custom', custom: 'form', data: { a: 'x'.repeat(bytes) } })
  const item = { from: 'bob', sentAt: 0, type: 'text', text: 'x'.repeat(60 * KiB) }
  const merged = (count: number) => json({ type: 'merged', title: 'all', items: Array(count).fill(item) })
  const code = async (payload: string) => (await script.publish({ topic: send, payload, qos: 1 }))?.code
  assert.equal(await code(custom(256 * KiB - custom(0).length)), 0)
  assert.equal(await code(custom(256 * KiB - custom(0).length + 1)), 0x97)
  assert.equal(await code(merged(4)), 0)
  assert.equal(await code(merged(5)), 0x97)
})

test('text is stored to the letter, and only a JSON object is a draft', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  await alice.group('ops')
  const script = await alice.connect()
  const texts = [
    '[1,2]',
    '"quoted"',
    '42',
    'null',
    ' leading',
    '{not json',
    '{"text":',
    '\ufeffbom',
    'a\u0000b',
    '\ud83d\udc4b',
    'é',
  ]
  for (const payload of texts) assert.equal((await script.publish({ topic: send, payload, qos: 1 }))?.code, 0, payload)
  assert.deepEqual(
    (await alice.history('g:ops')).flatMap(({ text }) => text ?? []),
    texts,
  )
})

test('topics that do not exist are refused and the connection stays; wildcards in a topic name end it', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  const script = await alice.connect()
  const old = await alice.connect(4, { clientId: 'old' })
  const none = [
    '$SYS/x',
    'im',
    'im/g/ops',
    'im/g/ops/send/more',
    '__proto__',
    'constructor',
    'im/u/__proto__/send',
    'x/'.repeat(200),
    `im/g/${'g'.repeat(70)}/send`,
    'im/call/toString',
    'im/g/ops/message',
    '/',
    'im//ops/send',
  ]
  for (const topic of none) {
    assert.ok(((await script.publish({ topic, payload: '{"requestId":"1"}', qos: 1 }))?.code ?? 0) >= 0x80, topic)
    assert.equal((await old.publish({ topic, payload: 'x', qos: 1 }))?.type, 'puback', topic)
  }
  for (const topic of ['im/+/ops/send', 'im/#']) {
    const loud = await alice.connect(5, { clientId: 'loud' })
    loud.send(publishPacket(5, { topic, payload: 'x', qos: 1, id: 1 }))
    assert.equal((await loud.next('disconnect')).code, 0x90)
    await loud.closed
    const quiet = await alice.connect(4, { clientId: 'quiet' })
    quiet.send(publishPacket(4, { topic, payload: 'x', qos: 1, id: 1 }))
    await quiet.closed
  }
  await Promise.all([script.ping(), old.ping()])
})

test('a packet past 320 KiB ends the connection, with 0x95 in MQTT 5', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  const payload = 'x'.repeat(321 * KiB)
  const five = await alice.connect(5)
  five.send(publishPacket(5, { topic: send, payload, qos: 1, id: 1 }))
  assert.equal((await five.next('disconnect')).code, 0x95)
  const four = await alice.connect(4)
  four.send(publishPacket(4, { topic: send, payload, qos: 1, id: 1 }))
  await four.closed
  await (await alice.connect(5)).ping()
})

test('before CONNECT is accepted little is taken, and nothing but CONNECT', { timeout: 60_000 }, async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  const to = { port: server.ports.mqtt }
  for (const bytes of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    packet('pingreq', 0),
    publishPacket(4, { topic: send, payload: 'x' }),
    packet('connect', 0, Buffer.alloc(5 * KiB)),
    Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff, 0x7f]),
  ]) {
    const script = new Script(to, 4)
    script.send(bytes)
    await script.closed
  }
  for (const clientId of ['__proto__', 'constructor', 'hasOwnProperty', '世界', 'x'.repeat(200)]) {
    const script = await alice.connect(5, { clientId })
    assert.deepEqual(await script.subscribe(alice.inbox), [1])
    await script.disconnect()
  }
  await assert.rejects(alice.connect(5, { clientId: 'x'.repeat(300) }), { code: 0x85 })
  await assert.rejects(alice.connect(4, { clientId: 'x'.repeat(300) }), { code: 2 })
  for (const [version, code] of [
    [4, 4],
    [5, 0x86],
  ] as const) {
    await assert.rejects(alice.connect(version, { password: 'wrong' }), { code })
    await assert.rejects(alice.connect(version, { username: 'bob' }), { code })
    await assert.rejects(alice.connect(version, { username: 'other/alice' }), { code })
    await assert.rejects(alice.connect(version, { username: '../alice' }), { code })
  }
})

test('filters: one code each, in order, the same one twice included; more than 50 are refused as they are', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice', 'bob')
  const inbox = { filter: alice.inbox }
  const wrong = { filter: 'im/u/bob/inbox' }
  const five = await alice.connect(5)
  assert.deepEqual(
    await five.subscribe([inbox, wrong, inbox, { filter: 'a/#/b' }, { filter: '__proto__' }, { ...inbox, qos: 2 }]),
    [1, 0x87, 1, 0x8f, 0x87, 1],
  )
  const four = await alice.connect(4, { clientId: 'four' })
  assert.deepEqual(await four.subscribe([inbox, wrong, inbox, { filter: 'a/#/b' }]), [1, 0x80, 1, 0x80])
  const many = Array.from({ length: 51 }, () => inbox)
  assert.deepEqual(
    await five.subscribe(many),
    many.map(() => 0x97),
  )
  assert.deepEqual(await five.unsubscribe(alice.inbox, alice.inbox, 'never/had'), [0, 0x11, 0x11])
})
