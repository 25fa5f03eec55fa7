/** What a session published is recognised after a reconnect, all that it may hold at once. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Origins } from '../broker/origins.ts'
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
