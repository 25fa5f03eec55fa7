/**
 * One MQTT connection of the SDK, seen from the other end: which packets leave, and in which order. The server takes
 * acknowledgements in any order, so the other end is written by hand here.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import mqttPacket, { type Packet } from 'mqtt-packet'
import { type Link, openLink, type Received } from '../sdk/link.ts'
import type { Refusal } from '../sdk/refusal.ts'

/** Answers a CONNECT with `connack` and a SUBSCRIBE with three messages; packets come out of `next`. */
async function otherEnd(t: TestContext, connack: object = {}) {
  const packets: Packet[] = []
  let arrived: () => void = () => undefined
  let socket: Socket | undefined
  const send = (packet: object) => socket?.write(mqttPacket.generate(packet as Packet, { protocolVersion: 5 }))
  const server = createServer(accepted => {
    socket = accepted.on('error', () => undefined)
    const parser = mqttPacket.parser({ protocolVersion: 5 })
    parser.on('packet', packet => {
      if (packet.cmd === 'connect') send({ cmd: 'connack', sessionPresent: false, reasonCode: 0, ...connack })
      if (packet.cmd === 'subscribe') {
        send({ cmd: 'suback', messageId: packet.messageId, granted: [1] })
        for (const messageId of [1, 2, 3])
          send({ cmd: 'publish', topic: 'im/u/bob/inbox', payload: `${messageId}`, qos: 1, messageId })
      }
      packets.push(packet)
      arrived()
    })
    accepted.on('data', bytes => parser.parse(bytes))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    socket?.destroy()
    server.close()
  })
  const next = async (cmd: string): Promise<Packet> => {
    for (;;) {
      const at = packets.findIndex(packet => packet.cmd === cmd)
      if (at >= 0) return packets.splice(at, 1)[0] as Packet
      await new Promise<void>(resolve => (arrived = resolve))
    }
  }
  return { port: (server.address() as AddressInfo).port, next, send, packets }
}

function open(port: number, received: Received = () => undefined): Promise<Link> {
  const limits = { keepAliveS: 30, sessionExpiryS: 60, receiveMaximum: 100, connectTimeoutMs: 5_000 }
  const url = `mqtt://127.0.0.1:${port}`
  return openLink({ url, clientId: 'phone', username: 'im/bob', password: 'secret', ...limits }, received)
}

test('acknowledgements leave when the app is done, in the order in which the messages came [MQTT-4.6.0-2]', async t => {
  const server = await otherEnd(t)
  const done: (() => void)[] = []
  const all = new Promise<void>(resolve => {
    const received: Received = (_, __, acknowledge) => void (done.push(acknowledge) === 3 && resolve())
    void open(server.port, received).then(link => link.subscribe({ 'im/u/bob/inbox': { qos: 1 } }))
  })
  await all
  done[2]?.()
  done[0]?.()
  assert.equal(((await server.next('puback')) as { messageId: number }).messageId, 1)
  assert.ok(!server.packets.some(({ cmd }) => cmd === 'puback'))
  done[1]?.()
  const rest = [await server.next('puback'), await server.next('puback')].map(packet => packet.messageId)
  assert.deepEqual(rest, [2, 3])
})

test('a message that the app is not done with does not keep answers from it', async t => {
  const server = await otherEnd(t)
  const link = await open(server.port)
  await link.subscribe({ 'im/u/bob/inbox': { qos: 1 } })
  const settled = new Promise<Refusal | undefined>(resolve => link.publish('im/u/alice/send', 'hi', resolve))
  const { messageId } = await server.next('publish')
  const reasonString = 'muted: The caller may not write in this group now.'
  server.send({ cmd: 'puback', messageId, reasonCode: 0x87, properties: { reasonString } })
  assert.equal((await settled)?.code, 'muted')
})

test('the session is asked for as it was left, and the window is what the server allows', async t => {
  const server = await otherEnd(t, { properties: { receiveMaximum: 7 } })
  const link = await open(server.port)
  const connect = (await server.next('connect')) as unknown as Record<string, unknown>
  assert.deepEqual([connect.clean, connect.protocolVersion, connect.username], [false, 5, 'im/bob'])
  assert.deepEqual({ ...(connect.properties as object) }, { sessionExpiryInterval: 60, receiveMaximum: 100 })
  assert.equal(link.window, 7)
})

test('a refused CONNECT ends with what the server said', async t => {
  const reasonString = 'token-expired: The token has expired.'
  const server = await otherEnd(t, { reasonCode: 0x86, properties: { reasonString } })
  await assert.rejects(open(server.port), { packet: 'connack5', reasonCode: 0x86, says: reasonString })
})
