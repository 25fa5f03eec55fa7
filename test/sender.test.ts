/** What waits for a connection beside entries is bounded, in number and in bytes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sender } from '../broker/sender.ts'
import type { OutboundPublish } from '../broker/wire.ts'

const replyOf = (bytes: number, nth: number): OutboundPublish => ({
  ...{ topic: Buffer.from('im/u/bob/phone/reply'), payload: Buffer.alloc(bytes, nth), qos: 1, packetId: 0 },
  ...{ dup: false, retain: false, subscriptionIds: [] },
})

for (const [bytes, count, kept] of [
  [1024 * 1024, 50, 4],
  [10, 2_000, 1_000],
  [6 * 1024 * 1024, 3, 1],
] as const)
  test(`of ${count} replies of ${bytes} bytes that nobody acknowledges, the ${kept} newest wait`, () => {
    const written: OutboundPublish[] = []
    const outlet = { writable: false, size: () => bytes, write: (packet: OutboundPublish) => void written.push(packet) }
    const sender = new Sender(outlet, { messages: 5_000, bytes: 1 }, () => {})
    for (let nth = 0; nth < count; nth++) sender.live(replyOf(bytes, nth))
    outlet.writable = true
    sender.flush()
    assert.deepEqual(
      written.map(({ payload }) => payload[0]),
      Array.from({ length: kept }, (_, nth) => (count - kept + nth) % 256),
    )
    assert.equal(sender.waiting, false)
  })
