/** Clients at the edge of the protocol and past it: what they cost is bounded, and what they may expect they get. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { publishPacket } from '../bench/wire/packets.ts'
import { entryOf, TestServer } from './support/server.ts'

/** CPU time that the process has used, in milliseconds. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}
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
