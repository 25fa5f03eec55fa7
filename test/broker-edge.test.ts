/** Clients at the edge of the protocol and past it: what they cost is bounded, and what they may expect they get. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { connectPacket, packet, publishPacket, subscribePacket } from '../bench/wire/packets.ts'
import { encodeProperties } from '../bench/wire/properties.ts'
import { Script } from '../bench/wire/script.ts'
import { entryOf } from './support/person.ts'
import { TestServer } from './support/server.ts'

const two = (value: number) => Buffer.from([value >> 8, value & 255])
const counted = (text: string) => Buffer.concat([two(Buffer.byteLength(text)), Buffer.from(text)])
/** CPU time that the process has used, in milliseconds. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}
const rssMiB = (pid: number) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
const linux = process.platform === 'linux'

test('who publishes past the rate is read more slowly, and everything is acknowledged', async t => {
  const server = await TestServer.start(t, { IM_RATE_LIMITS: 'on' })
  const { alice } = await server.people('alice')
  await alice.group('ops')
  const script = await alice.connect(5)
  const count = 12_000
  const from = performance.now()
  for (let id = 1; id <= count; id++)
    script.wire.write(publishPacket(5, { topic: 'im/g/ops/send', payload: `${id}`, qos: 1, id }))
  for (let id = 1; id <= count; id++) assert.equal((await script.next('puback')).id, id)
  assert.ok(performance.now() - from > 2_000)
  await script.ping()
})

test('a reader that acknowledges nothing costs no time', { skip: !linux && 'time is read from /proc' }, async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  const silent = await bob.connect(5)
  silent.wire.acknowledges = false
  await silent.subscribe(bob.inbox)
  const sender = await alice.connect(5)
  // Four of them fill most of the window, and the fifth does not fit.
  for (let i = 0; i < 6; i++) await sender.publish({ topic: 'im/u/bob/send', payload: 'x'.repeat(60_000), qos: 1 })
  const got = []
  for (let i = 0; i < 4; i++) got.push(await silent.next('publish'))
  const before = cpuMs(server.pid)
  await new Promise(resolve => setTimeout(resolve, 1_000))
  const used = cpuMs(server.pid) - before
  assert.ok(used < 300, `${used} ms of CPU in a second of silence`)
  for (const { id } of got) silent.ack('puback', id)
  assert.deepEqual([entryOf(await silent.next('publish')).seq, entryOf(await silent.next('publish')).seq], [5, 6])
})

test('refusals that nobody reads are not gathered', { skip: !linux && 'memory is read from /proc' }, async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  const publishes = Buffer.concat(
    Array.from({ length: 2_000 }, (_, i) => publishPacket(5, { topic: 'x', payload: '', qos: 1, id: i + 1 })),
  )
  const subscribes = Buffer.concat(Array.from({ length: 50 }, (_, i) => subscribePacket(5, i + 1, [{ filter: 'x' }])))
  for (const [bytes, times] of [
    [publishes, 600],
    [subscribes, 12_000],
  ] as const) {
    const script = await alice.connect(5, { clientId: `deaf-${times}` })
    script.wire.stopReading()
    const before = rssMiB(server.pid)
    let sent = 0
    for (let quiet = 0; sent < times && quiet < 20; ) {
      if (script.wire.stream.writableLength < 1_000_000) {
        script.send(bytes)
        sent++
        quiet = 0
        if (sent % 10 === 0) await new Promise(resolve => setImmediate(resolve))
      } else {
        quiet++
        await new Promise(resolve => setTimeout(resolve, 50))
      }
    }
    const grown = rssMiB(server.pid) - before
    assert.ok(sent < times, `all of ${times} were read; ${grown} MiB`)
    assert.ok(grown < 150, `${grown} MiB`)
    script.wire.readOn()
    await script.ping()
    script.wire.destroy()
  }
})

test('connections of a user are bounded also when they come at once', async t => {
  const server = await TestServer.start(t, { IM_CONNECTIONS_PER_USER: '5' })
  const { alice } = await server.people('alice')
  const all = await Promise.allSettled(Array.from({ length: 30 }, (_, i) => alice.connect(5, { clientId: `c${i}` })))
  const accepted = all.flatMap(result => (result.status === 'fulfilled' ? [result.value] : []))
  const refused = all.flatMap(result =>
    result.status === 'rejected' ? [(result.reason as { code: number }).code] : [],
  )
  assert.equal(accepted.length, 5)
  assert.deepEqual(new Set(refused), new Set([0x97]))
  // Whoever is in may connect again.
  const again = all.findIndex(({ status }) => status === 'fulfilled')
  await (await alice.connect(5, { clientId: `c${again}` })).ping()
})

test('subscriptions may be pipelined, a packet each', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  const script = await alice.connect(5)
  const ids = Array.from({ length: 400 }, (_, i) => i + 1)
  for (const id of ids) script.wire.write(subscribePacket(5, id, [{ filter: alice.inbox }]))
  for (const id of ids) assert.equal((await script.next('suback')).id, id)
  const early = new Script({ port: server.ports.mqtt }, 5)
  early.wire.write(connectPacket(5, { clientId: 'early', username: 'alice', password: alice.key }))
  for (const id of ids) early.wire.write(subscribePacket(5, id, [{ filter: alice.inbox }]))
  early.wire.flush()
  for (const id of ids) assert.equal((await early.next('suback')).id, id)
})

test('a packet that breaks a rule of MQTT ends the connection with 0x82', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  const alias = Buffer.from([0x23, 0, 1])
  // A length that leads past the end of the packet.
  const cut = Buffer.from([8, 0xff, 0xff])
  const id = (value: number) => Buffer.from([0x0b, value])
  const publish = (...properties: Buffer[]) => {
    const all = Buffer.concat(properties)
    return packet('publish', 2, counted('im/u/alice/send'), two(7), Buffer.from([all.length]), all, Buffer.from('x'))
  }
  const subscribe = (packetId: number, ...properties: Buffer[]) => {
    const all = Buffer.concat(properties)
    const filter = Buffer.concat([counted(alice.inbox), Buffer.from([1])])
    return packet('subscribe', 2, two(packetId), Buffer.from([all.length]), all, filter)
  }
  const broken: [string, Buffer][] = [
    ['a property that is cut off', publish(cut)],
    ['a property twice', publish(alias, alias)],
    ['a subscription identifier in a PUBLISH', publish(id(1))],
    ['a packet id of 0', publishPacket(5, { topic: 'im/u/alice/send', payload: 'x', qos: 1, id: 0 })],
    ['no packet id', packet('publish', 2, counted('im/u/alice/send'))],
    ['a SUBSCRIBE with a packet id of 0', subscribe(0)],
    ['a subscription identifier of 0', subscribe(1, id(0))],
    ['two subscription identifiers', subscribe(1, id(1), id(2))],
    ['a SUBSCRIBE without filters', packet('subscribe', 2, two(1), Buffer.from([0]))],
    ['an UNSUBSCRIBE without filters', packet('unsubscribe', 2, two(1), Buffer.from([0]))],
    ['a second CONNECT', connectPacket(5, { clientId: 'x', username: 'alice', password: alice.key })],
    ['AUTH', packet('auth', 0, Buffer.from([0x18, 0]))],
  ]
  for (const [name, bytes] of broken) {
    const script = await alice.connect(5)
    script.send(bytes)
    assert.equal((await script.next('disconnect')).code, 0x82, name)
    await script.closed
  }
  const session = Buffer.from([0x11, 0, 0, 0, 9])
  const refused: [string, Buffer][] = [
    ['a property twice in CONNECT', Buffer.concat([session, session])],
    ['a Maximum Packet Size of 0', encodeProperties({ maximumPacketSize: 0 }).subarray(1)],
    ['a Receive Maximum of 0', encodeProperties({ receiveMaximum: 0 }).subarray(1)],
  ]
  for (const [name, properties] of refused) {
    const script = new Script({ port: server.ports.mqtt }, 5)
    const head = Buffer.concat([counted('MQTT'), Buffer.from([5, 0xc2, 0, 0, properties.length]), properties])
    script.send(packet('connect', 0, head, counted('y'), counted('alice'), counted(alice.key)))
    assert.equal((await script.next('connack')).code, 0x82, name)
    await script.closed
  }
  assert.deepEqual(await alice.history('n:alice'), [])
})

test('a filter longer than any topic is refused, and MQTT 5 answers may come below the reply topic', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice', 'bob')
  const script = await alice.connect(5)
  const below = 'im/u/alice/reply/7f3a'
  assert.deepEqual(
    await script.subscribe([
      { filter: `im/g/${'x'.repeat(5_000)}/+` },
      { filter: below },
      { filter: 'im/u/bob/reply/7f3a' },
      { filter: 'im/u/alice/inbox/7f3a' },
    ]),
    [0x8f, 1, 0x87, 0x87],
  )
  const properties = { responseTopic: below, correlationData: Buffer.from('abc') }
  await script.publish({ topic: 'im/call/getMe', payload: '', qos: 1, properties })
  const answer = await script.next('publish')
  assert.equal(answer.topic, below)
  assert.equal(answer.properties.correlationData?.toString(), 'abc')
  assert.equal(JSON.parse(answer.payload.toString()).result.user, 'alice')
})
