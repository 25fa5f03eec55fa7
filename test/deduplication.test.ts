/** A message is stored once, however often it is sent: by its clientMessageId, or by packet id where it has none. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { publishPacket } from '../bench/wire/packets.ts'
import type { EntryJson, Person } from './support/person.ts'
import { TestServer } from './support/server.ts'

const texts = async (person: Person, conversation: string) =>
  (await person.history(conversation)).filter(({ kind }) => kind === 'message').map(({ text }) => text)

test('the same clientMessageId from three connections at once is one entry, acknowledged three times', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  await alice.group('ops')
  const connections = await Promise.all(
    ['a', 'b', 'c'].map((clientId, i) => alice.connect(i === 1 ? 4 : 5, { clientId })),
  )
  const payload = JSON.stringify({ text: 'once', clientMessageId: 'm-1' })
  const acks = await Promise.all(
    connections.map(connection => connection.publish({ topic: 'im/g/ops/send', payload, qos: 1 })),
  )
  assert.deepEqual(
    acks.map(ack => ack?.code),
    [0, 0, 0],
  )
  assert.deepEqual(await texts(alice, 'g:ops'), ['once'])
})

test('REST answers 201, then 200 with the entry stored first, and 409 for another text', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  const send = (text: string) => alice.api('POST', '/users/bob/messages', { text, clientMessageId: 'x' })
  const first = await send('hi')
  assert.equal(first.status, 201)
  const again = await send('hi')
  assert.equal(again.status, 200)
  assert.deepEqual(again.body, first.body)
  const other = await send('ho')
  assert.equal(other.status, 409)
  assert.equal((other.body as { code: string }).code, 'client-message-id-reused')
  assert.deepEqual(await texts(bob, 'u:alice:bob'), ['hi'])
})

for (const version of [4, 5] as const) {
  test(`a publish without an id that comes again with DUP after a cut is one message (${version})`, async t => {
    const server = await TestServer.start(t)
    const { alice } = await server.people('alice')
    await alice.group('ops')
    const publish = { topic: 'im/g/ops/send', payload: 'once', qos: 1 as const, id: 7 }
    for (const clean of [false, true]) {
      const clientId = `c-${clean}`
      const first = await alice.connect(version, { clientId, clean })
      await first.publish(publish)
      await first.cut()
      // A connection that publishes nothing in between changes nothing.
      await (await alice.connect(version, { clientId, clean })).cut()
      const second = await alice.connect(version, { clientId, clean })
      await second.publish({ ...publish, dup: true })
      // Another payload under the same packet id is another message.
      await second.publish({ ...publish, payload: `other ${clean}`, dup: true })
      await second.disconnect()
    }
    assert.deepEqual(await texts(alice, 'g:ops'), ['once', 'other false', 'once', 'other true'])
  })

  test(`after a crash of the server a publish that comes again with DUP is one message (${version})`, async t => {
    const server = await TestServer.start(t)
    const { alice } = await server.people('alice')
    await alice.group('ops')
    const publish = { topic: 'im/g/ops/send', payload: 'before the crash', qos: 1 as const, id: 9 }
    await (await alice.connect(version)).publish(publish)
    await server.kill()
    await server.start()
    await (await alice.connect(version)).publish({ ...publish, dup: true })
    assert.deepEqual(await texts(alice, 'g:ops'), ['before the crash'])
  })

  test(`a packet id that is used again with DUP=0, or after DISCONNECT, is a new message (${version})`, async t => {
    const server = await TestServer.start(t)
    const { alice } = await server.people('alice')
    await alice.group('ops')
    const publish = { topic: 'im/g/ops/send', payload: 'same', qos: 1 as const, id: 3 }
    const first = await alice.connect(version)
    await first.publish(publish)
    await first.publish(publish)
    await first.disconnect()
    const second = await alice.connect(version)
    await second.publish({ ...publish, dup: true })
    assert.deepEqual(await texts(alice, 'g:ops'), ['same', 'same', 'same'])
  })

  test(`what was refused is not taken for what was stored before, with the same text and packet id (${version})`, async t => {
    const server = await TestServer.start(t)
    const { alice, bob } = await server.people('alice', 'bob')
    await bob.group('ops', alice)
    const publish = { topic: 'im/g/ops/send', payload: 'alert', qos: 1 as const, id: 1 }
    const first = await alice.connect(version, { clientId: 'device' })
    await first.publish(publish)
    await first.publish(publish)
    assert.equal((await bob.api('DELETE', '/groups/ops/members/alice')).status, 204)
    await first.publish(publish)
    await first.cut()
    assert.equal((await bob.api('POST', '/groups/ops/members', { members: ['alice'] })).status, 200)
    const second = await alice.connect(version, { clientId: 'device' })
    await second.publish({ ...publish, dup: true })
    assert.deepEqual(await texts(bob, 'g:ops'), ['alert', 'alert', 'alert'])
    // And is known from then on.
    await second.cut()
    const third = await alice.connect(version, { clientId: 'device' })
    await third.publish({ ...publish, dup: true })
    assert.deepEqual(await texts(bob, 'g:ops'), ['alert', 'alert', 'alert'])
  })

  test(`QoS 2 is stored once until PUBREL, over reconnects and crashes (${version})`, async t => {
    const server = await TestServer.start(t)
    const { alice } = await server.people('alice')
    await alice.group('ops')
    const publish = { topic: 'im/g/ops/send', payload: 'exactly once', qos: 2 as const, id: 5 }
    const half = await alice.connect(version)
    half.send((await import('../bench/wire/packets.ts')).publishPacket(version, publish))
    await half.next('pubrec')
    await half.cut()
    const again = await alice.connect(version)
    again.send((await import('../bench/wire/packets.ts')).publishPacket(version, { ...publish, dup: true }))
    await again.next('pubrec')
    await server.kill()
    await server.start()
    const third = await alice.connect(version)
    assert.equal((await third.publish({ ...publish, dup: true }))?.type, 'pubcomp')
    assert.deepEqual(await texts(alice, 'g:ops'), ['exactly once'])
    await third.publish(publish)
    assert.deepEqual(await texts(alice, 'g:ops'), ['exactly once', 'exactly once'])
  })

  test(`QoS 2 is stored once until PUBREL also where it comes again without DUP (${version})`, async t => {
    const server = await TestServer.start(t)
    const { alice } = await server.people('alice')
    await alice.group('ops')
    const publish = { topic: 'im/g/ops/send', payload: 'exactly once', qos: 2 as const, id: 5 }
    const half = await alice.connect(version)
    for (let count = 0; count < 2; count++) {
      half.send(publishPacket(version, publish))
      await half.next('pubrec')
    }
    await half.cut()
    const again = await alice.connect(version)
    again.send(publishPacket(version, publish))
    await again.next('pubrec')
    await server.kill()
    await server.start()
    const third = await alice.connect(version)
    third.send(publishPacket(version, publish))
    await third.next('pubrec')
    assert.deepEqual(await texts(alice, 'g:ops'), ['exactly once'])
    await third.cut()
    // A clean start knows nothing of what was before it: without DUP it is new.
    const clean = await alice.connect(version, { clean: true })
    await clean.publish(publish)
    assert.deepEqual(await texts(alice, 'g:ops'), ['exactly once', 'exactly once'])
  })
}

test('a repeat of a recalled message gives its tombstone', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice', 'bob')
  const send = () => alice.api('POST', '/users/bob/messages', { text: 'oops', clientMessageId: 'r' })
  const { seq } = (await send()).body as EntryJson
  assert.equal((await alice.api('POST', `/conversations/u:alice:bob/messages/${seq}/recall`)).status, 201)
  const { status, body } = await send()
  assert.equal(status, 200)
  assert.equal((body as EntryJson).text, undefined)
  assert.equal((body as EntryJson).retracted, 'recall')
})
