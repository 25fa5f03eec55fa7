/** The ways in: bytes in any portions, WebSocket frames, connections that say nothing, and tokens that end. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { connectPacket, pingPacket, publishPacket, subscribePacket } from '../bench/wire/packets.ts'
import { Script } from '../bench/wire/script.ts'
import { SESSIONS, type SessionRow } from '../broker/session-rows.ts'
import { readConfig } from '../server/config.ts'
import { scheduler } from '../server/machine.ts'
import { createServer } from '../server/server.ts'
import { openStorage } from '../storage/open.ts'
import { entryOf, rest } from './support/person.ts'
import { TestServer } from './support/server.ts'

const IN_MEMORY = {
  IM_STORAGE: 'memory',
  IM_HTTP_PORT: '0',
  IM_MQTT_PORT: '0',
  IM_LOG_LEVEL: 'fatal',
  IM_OWNER_PASSWORD: 'owner has a password',
}

test('packets come byte by byte, and many in one piece', async t => {
  const server = await TestServer.start(t)
  const { bob } = await server.people('bob')
  const all = Buffer.concat([
    connectPacket(5, { clientId: 'slow', username: 'bob', password: bob.key }),
    subscribePacket(5, 1, [{ filter: bob.inbox }]),
    publishPacket(5, { topic: 'im/u/bob/send', payload: 'in pieces', qos: 1, id: 2 }),
    pingPacket(),
  ])
  for (const size of [1, 7, all.length]) {
    const script = new Script({ port: server.ports.mqtt }, 5)
    for (let at = 0; at < all.length; at += size) {
      script.send(all.subarray(at, at + size))
      await new Promise(resolve => setImmediate(resolve))
    }
    assert.equal((await script.next('connack')).code, 0)
    await Promise.all([script.next('suback'), script.next('puback'), script.next('pingresp')])
    assert.equal(entryOf(await script.next('publish')).text, 'in pieces')
    await script.disconnect()
  }
})

test('who subscribes and publishes in one breath hears it', async t => {
  const server = await TestServer.start(t)
  const { bob } = await server.people('bob')
  for (let nth = 0; nth < 50; nth++) {
    const script = new Script({ port: server.ports.mqtt }, 5)
    const packets = [
      connectPacket(5, { clientId: `breath-${nth}`, username: 'bob', password: bob.key }),
      subscribePacket(5, 1, [{ filter: bob.inbox }]),
      publishPacket(5, { topic: 'im/u/bob/send', payload: `${nth}`, qos: 1, id: 2 }),
    ]
    script.send(Buffer.concat(packets))
    assert.equal((await script.next('connack')).code, 0)
    await script.next('puback')
    await script.ping()
    const heard = script.packets.flatMap(packet => (packet.type === 'publish' ? entryOf(packet).text : []))
    assert.deepEqual(heard, [`${nth}`])
    await script.cut()
  }
})

test('a WebSocket carries packets in any frames, and a text frame ends it', async t => {
  const server = await TestServer.start(t)
  const { bob } = await server.people('bob')
  const open = async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${server.ports.http}/mqtt`, 'mqtt')
    t.after(() => socket.terminate())
    await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject))
    return socket
  }
  const connect = connectPacket(5, { clientId: 'ws', username: 'bob', password: bob.key })
  const socket = await open()
  const received: number[] = []
  const heard = (type: number) =>
    new Promise<void>(resolve => {
      const look = () => {
        if (received.includes(type)) resolve()
      }
      socket.on('message', look)
      look()
    })
  socket.on('message', (data: Buffer) => received.push((data[0] as number) >> 4))
  for (const byte of connect) socket.send(Buffer.from([byte]))
  await heard(2)
  // A message of several fragments.
  const ping = pingPacket()
  socket.send(ping.subarray(0, 1), { fin: false })
  socket.send(ping.subarray(1), { fin: true })
  await heard(13)
  const closed = new Promise(resolve => socket.on('close', resolve))
  socket.send('text')
  await closed
  const early = await open()
  const gone = new Promise(resolve => early.on('close', resolve))
  early.send('text')
  await gone
  await (await bob.connect(5)).ping()
})

test('who does not finish a CONNECT is let go after 10 s, whatever trickles in', { timeout: 40_000 }, async t => {
  const server = await TestServer.start(t)
  const { bob } = await server.people('bob')
  const silent = Array.from({ length: 200 }, () => new Script({ port: server.ports.mqtt }, 5))
  const trickle = new Script({ port: server.ports.mqtt }, 5)
  const bytes = connectPacket(5, { clientId: 'x'.repeat(100), username: 'bob', password: bob.key })
  let at = 0
  const drip = setInterval(() => trickle.send(bytes.subarray(at, ++at)), 500)
  const web = new WebSocket(`ws://127.0.0.1:${server.ports.http}/mqtt`, 'mqtt')
  const webClosed = new Promise(resolve => web.on('close', resolve).on('error', resolve))
  const from = performance.now()
  await Promise.all([...silent.map(script => script.closed), trickle.closed, webClosed])
  clearInterval(drip)
  const took = performance.now() - from
  assert.ok(took > 5_000 && took < 16_000, `${took} ms`)
  await (await bob.connect(5)).ping()
})

test('an access token that ends takes its connections with it, with 0xA0', async t => {
  let ahead = 0
  const clock = { ...scheduler, now: () => scheduler.now() + ahead }
  const server = await createServer(readConfig(IN_MEMORY), { scheduler: clock })
  t.after(() => server[Symbol.asyncDispose]())
  const { body } = await rest(server, 'POST', '/v1/register', { user: 'bob', password: 'bob has a password' })
  const { accessToken } = body as { accessToken: string }
  const credentials = { username: 'bob', password: accessToken }
  const five = await Script.connect({ port: server.ports.mqtt }, 5, { clientId: 'five', ...credentials })
  const four = await Script.connect({ port: server.ports.mqtt }, 4, { clientId: 'four', ...credentials })
  ahead = 3_601_000
  assert.equal((await five.next('disconnect')).code, 0xa0)
  await Promise.all([five.closed, four.closed])
  await assert.rejects(Script.connect({ port: server.ports.mqtt }, 5, { clientId: 'late', ...credentials }), {
    code: 0x86,
  })
})

test('who is coming in as the server stops leaves a session that is disconnected', async t => {
  const memory = await openStorage({ engine: 'memory', clock: scheduler })
  const heads: SessionRow[] = []
  let comesIn = () => {}
  const coming = new Promise<void>(resolve => {
    comesIn = resolve
  })
  const write = memory.records.write.bind(memory.records)
  const slow: typeof write = async (changes, options) => {
    const rows = changes.flatMap(({ table, row }) => (table === SESSIONS && row ? [row as SessionRow] : []))
    if (rows.length > 0 && heads.length === 0) {
      comesIn()
      await setTimeout(200)
    }
    await write(changes, options)
    heads.push(...rows)
  }
  Object.assign(memory.records, { write: slow })
  const server = await createServer(readConfig(IN_MEMORY), { storage: memory })
  t.after(() => server[Symbol.asyncDispose]())
  const { body } = await rest(server, 'POST', '/v1/register', { user: 'bob', password: 'bob has a password' })
  const { accessToken } = body as { accessToken: string }
  const script = new Script({ port: server.ports.mqtt }, 4)
  script.send(connectPacket(4, { clientId: 'phone', username: 'bob', password: accessToken, clean: false }))
  await coming
  await server[Symbol.asyncDispose]()
  await script.closed
  assert.equal(typeof heads.at(-1)?.expiresAt, 'number')
})
