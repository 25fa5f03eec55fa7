/** Nobody reads or writes what is another's: every topic, every kind of caller, every way in. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Script } from '../bench/wire/script.ts'
import { TOPICS, type TopicName } from '../protocol/topics.ts'
import type { Person } from './support/person.ts'
import { TestServer } from './support/server.ts'

type Who = 'owner' | 'member' | 'stranger' | 'device' | 'otherDevice'
const EVERYONE: Who[] = ['owner', 'member', 'stranger', 'device', 'otherDevice']

/** Topics of alice, of her group ops, and of the group's device pump. */
const SUBJECTS: Record<TopicName, string> = {
  sendToUser: 'alice',
  sendToGroup: 'ops',
  sendToDevice: 'pump',
  alert: 'pump',
  telemetry: 'pump',
  result: 'pump',
  call: 'getMe',
  inbox: 'alice',
  groupMessage: 'ops',
  deviceMessage: 'pump',
  command: 'pump',
  userReply: 'alice',
  deviceReply: 'pump',
  live: 'alice',
  presence: 'alice',
  last: 'pump',
}
/** Who may, as the contract has it; everyone else may not. */
const MAY: Record<TopicName, Who[]> = {
  sendToUser: ['owner', 'member', 'stranger'],
  sendToGroup: ['owner', 'member'],
  sendToDevice: ['owner', 'member'],
  alert: ['device'],
  telemetry: ['device'],
  result: ['device'],
  call: EVERYONE,
  inbox: ['owner'],
  groupMessage: ['owner', 'member'],
  deviceMessage: ['owner', 'member', 'device'],
  command: ['device'],
  userReply: ['owner'],
  deviceReply: ['device'],
  live: ['owner'],
  presence: ['owner'],
  last: ['owner', 'member', 'device'],
}
const NAME = /\{(user|group|device|operation)\}/

async function cast(server: TestServer) {
  const { alice, bob, eve } = await server.people('alice', 'bob', 'eve')
  await alice.group('ops', bob)
  const key = async (owner: Person, device: string, group?: string) => {
    const { status, body } = await owner.api('POST', '/devices', { device, ...(group && { group }) })
    assert.equal(status, 201)
    return (body as { key: string }).key
  }
  const logIns: Record<Who, { username: string; password: string }> = {
    owner: { username: 'alice', password: alice.key },
    member: { username: 'im/bob', password: bob.key },
    stranger: { username: 'eve', password: eve.key },
    device: { username: 'im/d/pump', password: await key(alice, 'pump', 'ops') },
    otherDevice: { username: 'im/d/other', password: await key(eve, 'other') },
  }
  let count = 0
  const connect = (who: Who, version: 4 | 5 = 5, more = {}) =>
    Script.connect({ port: server.ports.mqtt }, version, {
      clientId: `c${count++}`,
      ...logIns[who],
      clean: true,
      ...more,
    })
  return { connect }
}

test('every topic × every caller × publish, subscribe and will', { timeout: 120_000 }, async t => {
  const server = await TestServer.start(t)
  const { connect } = await cast(server)
  for (const row of Object.keys(TOPICS) as TopicName[]) {
    const client = TOPICS[row].from === 'client'
    for (const app of ['im', 'other']) {
      const topic = TOPICS[row].pattern.replace('{app}', app).replace(NAME, SUBJECTS[row])
      for (const who of EVERYONE) {
        const may = app === 'im' && MAY[row].includes(who)
        const what = `${who} and ${topic}`
        const script = await connect(who)
        const payload = row === 'call' ? '{"requestId":"1"}' : 'x'
        const ack = await script.publish({ topic, payload, qos: 1 })
        assert.equal((ack?.code ?? 0) < 0x80, client && may, `publish: ${what}`)
        const [code] = await script.subscribe(topic)
        assert.equal((code ?? 0x80) < 0x80, !client && may, `subscribe: ${what}`)
        const old = await connect(who, 4)
        assert.equal(((await old.subscribe(topic))[0] ?? 0x80) < 0x80, !client && may, `subscribe (3.1.1): ${what}`)
        const will = connect(who, 5, { will: { topic, payload: 'x', qos: 1 } })
        const accepted = await will.then(
          admitted => admitted.disconnect().then(() => true),
          () => false,
        )
        assert.equal(accepted, client && may && row !== 'call', `will: ${what}`)
        await Promise.all([script.disconnect(), old.disconnect()])
      }
    }
  }
})

test('wildcards are granted for topics that exist, and deliver only what the caller may read', async t => {
  const server = await TestServer.start(t)
  const { connect } = await cast(server)
  const owner = await connect('owner')
  const stranger = await connect('stranger')
  const wildcards = ['#', 'im/#', '+/u/+/inbox', 'im/+/+/message', 'im/d/+/last', 'im/u/alice/#']
  assert.deepEqual(
    await stranger.subscribe(wildcards.map(filter => ({ filter }))),
    wildcards.map(() => 1),
  )
  for (const none of ['other/#', 'im/x/+/y', 'im/u/+/send', '$SYS/#', '$share/g/im/#', 'im/#/x', 'im/u+/x']) {
    assert.ok(((await stranger.subscribe(none))[0] ?? 0) >= 0x80, none)
  }
  await owner.subscribe('im/#')
  const pump = await connect('device')
  await owner.publish({ topic: 'im/g/ops/send', payload: 'for members', qos: 1 })
  await pump.publish({ topic: 'im/d/pump/alert', payload: 'hot', qos: 1 })
  await pump.publish({ topic: 'im/d/pump/telemetry', payload: '92', qos: 1 })
  await owner.next('publish', ({ topic, payload }) => topic === 'im/d/pump/last' && payload.toString() === '92')
  await owner.publish({ topic: 'im/u/eve/send', payload: 'for eve', qos: 1 })
  const { payload } = await stranger.next('publish', ({ topic }) => topic === 'im/u/eve/inbox')
  assert.match(payload.toString(), /for eve/)
  assert.deepEqual(
    stranger.untaken('publish').filter(({ topic }) => topic !== 'im/u/eve/live'),
    [],
  )
})

test('retained publishes are refused but for telemetry, and the newest value waits for who may read it', async t => {
  const server = await TestServer.start(t)
  const { connect } = await cast(server)
  const owner = await connect('owner')
  assert.ok(((await owner.publish({ topic: 'im/g/ops/send', payload: 'x', qos: 1, retain: true }))?.code ?? 0) >= 0x80)
  const pump = await connect('device')
  for (const value of ['1', '2']) {
    assert.equal((await pump.publish({ topic: 'im/d/pump/telemetry', payload: value, qos: 1, retain: true }))?.code, 0)
  }
  await server.kill()
  await server.start()
  const again = await (await cast2(server)).connect()
  await again.subscribe('im/d/+/last')
  const value = await again.next('publish')
  assert.deepEqual([value.topic, value.payload.toString(), value.retain], ['im/d/pump/last', '2', true])
})

/** Alice once more, after a restart. */
async function cast2(server: TestServer) {
  const login = await fetch(`http://127.0.0.1:${server.ports.http}/v1/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user: 'alice', password: 'alice has a password' }),
  })
  const { accessToken } = (await login.json()) as { accessToken: string }
  return {
    connect: () =>
      Script.connect({ port: server.ports.mqtt }, 5, { clientId: 'again', username: 'alice', password: accessToken }),
  }
}
