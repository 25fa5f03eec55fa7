/** The wire client itself: what it writes and reads, against a stream of bytes. */
import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { connectPacket, decode, type Packet, packet, publishPacket } from '../bench/wire/packets.ts'
import { Cursor, encodeProperties, type Properties } from '../bench/wire/properties.ts'
import { Script } from '../bench/wire/script.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

test('a CONNECT has the bytes of the specification', () => {
  const bytes = connectPacket(5, {
    clientId: 'c',
    username: 'u',
    password: 'p',
    clean: false,
    keepAlive: 10,
    will: { topic: 't', payload: 'w', qos: 1 },
    properties: { receiveMaximum: 10 },
  })
  const fields = [
    '101e',
    '00044d515454',
    '05cc',
    '000a',
    '0321000a',
    '000163',
    '00',
    '000174',
    '000177',
    '000175',
    '000170',
  ]
  assert.equal(hex(bytes), fields.join(''))
})

test('properties come back as they were written', () => {
  const text = fc.string({ maxLength: 20 })
  const properties = fc.record<Properties>(
    {
      sessionExpiryInterval: fc.nat(0xffffffff),
      subscriptionIdentifier: fc.integer({ min: 1, max: 268_435_455 }),
      reasonString: text,
      topicAlias: fc.nat(65_535),
      userProperty: fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 3 }),
      correlationData: fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes)),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(properties, given => {
      assert.deepEqual({ ...new Cursor(encodeProperties(given)).properties() }, { ...given })
    }),
  )
})

/** A server that hands its sockets out, and a script on it. */
async function pair(version: 4 | 5) {
  const server = createServer()
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const accepted = new Promise<Socket>(done => server.once('connection', done))
  const script = new Script({ port: (server.address() as { port: number }).port }, version)
  const socket = await accepted
  server.close()
  return { script, socket }
}
const heard = (socket: Socket) => new Promise<Buffer>(done => socket.once('data', done))

test('packets are read the same however the bytes are cut', async () => {
  const sent = [
    publishPacket(5, { topic: 'a', payload: 'x'.repeat(300), qos: 1, id: 300, properties: { topicAlias: 1 } }),
    packet('puback', 0, Buffer.from([1, 2, 0x97, 3, 0x1f, 0, 0])),
    publishPacket(5, { topic: 'b', payload: '' }),
    packet('disconnect', 0, Buffer.from([0x8e, 0])),
  ]
  const all = Buffer.concat(sent)
  const { script, socket } = await pair(5)
  for (const byte of all) {
    socket.write(Buffer.from([byte]))
    await new Promise(setImmediate)
  }
  socket.write(all)
  await script.next('disconnect')
  await script.next('disconnect')
  const [first, second, third, last, ...again] = script.packets
  assert.deepEqual(again, [first, second, third, last])
  assert.deepEqual(second, { type: 'puback', id: 0x102, code: 0x97, properties: { reasonString: '' } } satisfies Packet)
  assert.equal(first?.type === 'publish' && first.payload.length, 300)
  assert.equal(first?.type === 'publish' && first.properties.topicAlias, 1)
  await script.cut()
})

test('a delivery is acknowledged, unless the client is told not to', async () => {
  const { script, socket } = await pair(4)
  const delivery = publishPacket(4, { topic: 'a', payload: 'x', qos: 1, id: 0x1234 })
  socket.write(delivery)
  assert.equal(hex(await heard(socket)), '40021234')

  script.wire.acknowledges = false
  socket.write(delivery)
  await script.next('publish')
  await script.next('publish')
  script.ack('pubrec', 1)
  assert.equal(hex(await heard(socket)), '50020001')
  await script.cut()
})

test('a wait for a packet fails when the server closes', async () => {
  const { script, socket } = await pair(4)
  const wait = script.next('connack')
  socket.destroy()
  await assert.rejects(wait, /closed the connection/)
})

test('bytes that are no packet end the connection', async () => {
  const { script, socket } = await pair(4)
  socket.write(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0xff]))
  await script.closed
  assert.throws(() => decode(4, 8, 2, Buffer.alloc(4)), /does not send subscribe/)
})
