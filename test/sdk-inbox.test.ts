/** The SDK's order and exactly-once, without a network: what arrives is given by hand, and so is history. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ConversationId, type Seq } from '../protocol/ids.ts'
import type { Entry, Gap } from '../protocol/messages.ts'
import { type GapEvent, Inbox, type InboxNeeds } from '../sdk/inbox.ts'
import { Refusal } from '../sdk/refusal.ts'
import { memoryStore, type Store } from '../sdk/store.ts'

const OPS = ConversationId.parse('g:ops')
const entry = (seq: number, conversation = OPS): Entry => ({
  kind: 'message',
  conversation,
  seq: seq as Seq,
  n: seq,
  id: `id-${seq}`,
  from: '$system',
  sentAt: 1_000 + seq,
})
const gap = (from: number, to: number): Gap => ({
  kind: 'gap',
  conversation: OPS,
  from: from as Seq,
  to: to as Seq,
  reason: 'retention',
})

function inbox(given: Partial<InboxNeeds> & { history?: number; store?: Store } = {}) {
  const heard: (number | string)[] = []
  const acknowledged: number[] = []
  const made = new Inbox({
    store: memoryStore(),
    entry: ({ seq }) => void heard.push(seq),
    gap: ({ from, to, reason }: GapEvent) => void heard.push(`${from}-${to} ${reason}`),
    // Pages of three, as the server would page.
    read: async ({ after, before }) =>
      Array.from({ length: 3 }, (_, i) => after + 1 + i)
        .filter(seq => seq < before && seq <= (given.history ?? 0))
        .map(seq => entry(seq)),
    pause: async () => undefined,
    failed: thrown => {
      throw thrown
    },
    ...given,
  })
  const take = (item: Entry | Gap) =>
    made.take(item, () => void acknowledged.push(item.kind === 'gap' ? item.to : item.seq))
  return { made, heard, acknowledged, take }
}
/** Lets everything run that waits for nothing from outside. */
const settled = () => new Promise(resolve => setImmediate(resolve))

test('an entry that comes again is acknowledged and not handed on', () => {
  const { take, heard, acknowledged } = inbox()
  for (const seq of [7, 8, 7, 8, 9]) take(entry(seq))
  assert.deepEqual(heard, [7, 8, 9])
  assert.deepEqual(acknowledged, [7, 8, 7, 8, 9])
})

test('a hole is filled from history before the entry behind it is handed on', async () => {
  const { take, heard } = inbox({ history: 100 })
  take(entry(1))
  take(entry(9))
  take(entry(10))
  await settled()
  assert.deepEqual(heard, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
})

test('a gap is told in place of its entries, and no history is read for it', async () => {
  const { take, heard } = inbox({ read: () => assert.fail('history was read') })
  take(entry(1))
  take(gap(2, 5))
  take(gap(2, 5))
  take(entry(6))
  await settled()
  assert.deepEqual(heard, [1, '2-5 retention', 6])
})

test('a hole that history cannot explain is told, never passed over in silence', async () => {
  const { take, heard } = inbox({ history: 3 })
  take(entry(1))
  take(entry(9))
  await settled()
  assert.deepEqual(heard, [1, 2, 3, '4-8 unexplained', 9])
})

test('history that cannot be read now is asked again until it answers', async () => {
  let left = 3
  const { take, heard } = inbox({
    read: async ({ after }) => {
      if (left-- > 0) throw new Refusal('unreachable')
      return [entry(after + 1)]
    },
  })
  take(entry(1))
  take(entry(3))
  await settled()
  assert.deepEqual(heard, [1, 2, 3])
  assert.equal(left, -1)
})

test('an entry is acknowledged only when the listener is done and its position is written', async () => {
  const steps: string[] = []
  let finish: () => void = () => undefined
  const rows = memoryStore()
  const { take, acknowledged } = inbox({
    store: { ...rows, set: async (key, value) => void steps.push(`${key}=${value}`) },
    entry: () => new Promise<void>(resolve => (finish = resolve)),
  })
  take(entry(4))
  await settled()
  assert.deepEqual([steps, acknowledged], [[], []])
  finish()
  await settled()
  assert.deepEqual([steps, acknowledged], [['position/g:ops=4 1004'], [4]])
})

test('a listener that waits in one conversation does not hold up another', async () => {
  const slow = ConversationId.parse('g:slow')
  const heard: string[] = []
  const { take } = inbox({
    entry: ({ conversation, seq }) => {
      heard.push(`${conversation} ${seq}`)
      return conversation === slow ? new Promise(() => undefined) : undefined
    },
  })
  take(entry(1, slow))
  take(entry(2, slow))
  take(entry(1))
  await settled()
  assert.deepEqual(heard, ['g:slow 1', 'g:ops 1'])
})

test('positions that were kept hold over a restart', async () => {
  const store = memoryStore()
  const first = inbox({ store })
  for (const seq of [1, 2, 3]) first.take(entry(seq))

  const second = inbox({ store, history: 10 })
  second.made.load(await store.load())
  for (const seq of [2, 3, 6]) second.take(entry(seq))
  await settled()
  assert.deepEqual(second.heard, [4, 5, 6])
  assert.equal(second.made.newestAt, 1_006)
})

test('what was not begun when the connection went is left to the next one', async () => {
  let finish: () => void = () => undefined
  const heard: number[] = []
  const { made, take, acknowledged } = inbox({
    entry: ({ seq }) => {
      heard.push(seq)
      return seq === 1 ? new Promise<void>(resolve => (finish = resolve)) : undefined
    },
  })
  for (const seq of [1, 2, 3]) take(entry(seq))
  made.disconnected()
  for (const seq of [1, 2, 3]) take(entry(seq))
  finish()
  await settled()
  assert.deepEqual(heard, [1, 2, 3])
  assert.deepEqual(acknowledged, [1, 1, 2, 3])
})

test('what was missed while the server had no session comes before what is new', async () => {
  const { made, take, heard } = inbox({ history: 5 })
  take(entry(2))
  made.hold()
  take(entry(6))
  made.missing(OPS, 0, 5)
  await settled()
  assert.deepEqual(heard, [2])
  made.release()
  await settled()
  assert.deepEqual(heard, [2, 3, 4, 5, 6])
})

test('whatever arrives, in whatever order and however often, is handed on in order and once', async () => {
  const arrival = fc.record({ seq: fc.integer({ min: 1, max: 30 }), cut: fc.boolean(), rest: fc.boolean() })
  await fc.assert(
    fc.asyncProperty(fc.array(arrival, { minLength: 1, maxLength: 60 }), async arrivals => {
      const { made, take, heard } = inbox({ history: 30 })
      for (const { seq, cut, rest } of arrivals) {
        take(entry(seq))
        if (cut) made.disconnected()
        if (rest) await settled()
      }
      // What a lost connection took along is sent again.
      for (const { seq } of arrivals) take(entry(seq))
      await settled()
      const first = arrivals[0]?.seq ?? 0
      const last = Math.max(first, ...arrivals.map(({ seq }) => seq))
      const expected = Array.from({ length: last - first + 1 }, (_, i) => first + i)
      assert.deepEqual(heard, expected)
    }),
    { numRuns: 200 },
  )
})
