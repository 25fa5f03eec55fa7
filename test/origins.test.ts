/** What a session published is recognised after a reconnect, all that it may hold at once. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Origins } from '../broker/origins.ts'
import type { Change, Records } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import { openStorage } from '../storage/open.ts'

test('a full book of publishes is read back whole', async () => {
  await using storage = await openStorage({ engine: 'memory', clock: { now: () => 1 } })
  const { records } = storage
  const publishes = [
    ...Array.from({ length: 1_000 }, (_, i) => ({ packetId: i + 1, qos: 2 as const })),
    ...Array.from({ length: 100 }, (_, i) => ({ packetId: i + 2_001, qos: 1 as const })),
  ].map(publish => ({ ...publish, topic: 't', payload: Buffer.from(`${publish.packetId}`) }))
  const before = new Origins(records, 'im/bob/x', 1, false)
  await before.load()
  for (const publish of publishes) {
    const changes = before.remember({ ...publish, dup: false })
    assert.ok(changes !== 'repeated')
    await records.write(changes)
  }
  assert.throws(() => before.remember({ packetId: 5_000, qos: 2, dup: false, topic: 't', payload: Buffer.from('') }), {
    code: 'too-many-requests',
  })
  const after = new Origins(records, 'im/bob/x', 1, false)
  await after.load()
  for (const publish of publishes) {
    assert.equal(after.remember({ ...publish, dup: true }), 'repeated', `${publish.packetId}`)
  }
})

test('a publish of unknown outcome is new when it comes again, unless it has come to be stored', async () => {
  await using storage = await openStorage({ engine: 'memory', clock: { now: () => 1 } })
  const { records } = storage
  const publish = { packetId: 1, qos: 1 as const, topic: 't', payload: Buffer.from('alert'), dup: false }
  const before = new Origins(records, 'im/bob/x', 1, false)
  await before.load()
  for (const _ of Array.from({ length: 3 })) {
    await records.write(before.remember(publish) as Change[])
    before.stored(1, 1)
  }
  assert.deepEqual(await before.left(), [])
  const late = before.remember(publish) as Change[]
  await records.write(await before.left())
  const read = async (epoch: number) => {
    const origins = new Origins(records, 'im/bob/x', epoch, true)
    await origins.load()
    return [
      await origins.isStored({ ...publish, dup: true }),
      origins.remember({ ...publish, dup: true }) === 'repeated',
    ]
  }
  assert.deepEqual(await read(2), [false, false])
  await records.write(late)
  assert.deepEqual(await read(3), [true, true])
})

test('what comes when storage cannot be read, and is not stored, is new when it comes again', async () => {
  await using storage = await openStorage({ engine: 'memory', clock: { now: () => 1 } })
  const publish = { packetId: 1, qos: 1 as const, topic: 't', payload: Buffer.from('alert'), dup: false }
  const first = new Origins(storage.records, 'im/bob/x', 1, false)
  await first.load(publish)
  await storage.records.write(first.remember(publish) as Change[])
  let isAway = true
  const records: Records = {
    ...storage.records,
    scan: (...of) => (isAway ? Promise.reject(new Fault('log-unavailable')) : storage.records.scan(...of)),
  }
  const second = new Origins(records, 'im/bob/x', 2, true)
  await assert.rejects(second.load(publish) as Promise<void>, { code: 'log-unavailable' })
  await assert.rejects(second.left(), { code: 'log-unavailable' })
  isAway = false
  await storage.records.write(await second.left())
  const third = new Origins(storage.records, 'im/bob/x', 3, true)
  await third.load()
  assert.notEqual(third.remember({ ...publish, dup: true }), 'repeated')
})

test('a PUBREL that comes first on a connection lets go of what was published on the one before', async () => {
  await using storage = await openStorage({ engine: 'memory', clock: { now: () => 1 } })
  const { records } = storage
  const publish = { packetId: 5, qos: 2 as const, topic: 't', payload: Buffer.from('alarm'), dup: false }
  const before = new Origins(records, 'im/bob/x', 1, false)
  await before.load()
  await records.write(before.remember(publish) as Change[])
  const after = new Origins(records, 'im/bob/x', 2, true)
  await after.release(5)
  await after.load()
  assert.notEqual(after.remember(publish), 'repeated', 'the next alarm is a new one')
})
