/** MQTT over WebSocket, by a stock client and by hand. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import mqtt from 'mqtt'
import { WebSocket } from 'ws'
import { connectPacket } from '../bench/wire/packets.ts'
import type { EntryJson } from './support/person.ts'
import { TestServer } from './support/server.ts'

for (const protocolVersion of [4, 5] as const) {
  test(`a stock client talks over WebSocket (${protocolVersion})`, { timeout: 30_000 }, async t => {
    const server = await TestServer.start(t)
    const { alice, bob } = await server.people('alice', 'bob')
    const url = `ws://127.0.0.1:${server.ports.http}/mqtt`
    const client = await mqtt.connectAsync(url, {
      protocolVersion,
      username: 'bob',
      password: bob.key,
      clientId: 'web',
      clean: false,
    })
    t.after(() => client.end(true))
    await client.subscribeAsync(bob.inbox, { qos: 1 })
    const heard = new Promise<Buffer>(resolve => client.once('message', (_topic, payload) => resolve(payload)))
    await alice.api('POST', '/users/bob/messages', { text: 'hello, browser' })
    assert.equal((JSON.parse((await heard).toString()) as EntryJson).text, 'hello, browser')
    // Larger than one frame or one read of the socket.
    const text = '字'.repeat(21_000)
    await client.publishAsync('im/u/alice/send', text, { qos: 1 })
    assert.equal((await alice.history('u:alice:bob')).at(-1)?.text, text)
  })
}

test('packets may be cut anywhere into frames; text frames end the connection', { timeout: 30_000 }, async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  const open = async (protocol: string) => {
    const socket = new WebSocket(`ws://127.0.0.1:${server.ports.http}/mqtt`, protocol)
    await once(socket, 'open')
    return socket
  }
  const socket = await open('mqttv3.1')
  assert.equal(socket.protocol, 'mqttv3.1')
  const connack = once(socket, 'message')
  for (const byte of connectPacket(4, { clientId: 'bytes', username: 'alice', password: alice.key }))
    socket.send(Buffer.from([byte]))
  assert.deepEqual([...((await connack)[0] as Buffer)], [0x20, 2, 0, 0])
  socket.send('text')
  await once(socket, 'close')
  const wrong = new WebSocket(`ws://127.0.0.1:${server.ports.http}/mqtt`, 'chat')
  const [error] = (await once(wrong, 'error')) as [Error]
  assert.match(error.message, /400/)
})
