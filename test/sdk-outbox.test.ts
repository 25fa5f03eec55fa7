/** The SDK's outbox, without a network: connections come and go by hand. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ConversationId, type Seq } from '../protocol/ids.ts'
import type { Entry } from '../protocol/messages.ts'
import { Outbox, type OutboxNeeds, type Sent } from '../sdk/outbox.ts'
import { Refusal } from '../sdk/refusal.ts'
import { memoryStore, type Store } from '../sdk/store.ts'

const OPS = ConversationId.parse('g:ops')
const TOPIC = 'im/g/ops/send'
const draft = (id: string | number, text = 'hi'): Sent => ({ text, clientMessageId: String(id) })
const copy = (id: string | number, seq = 1): Entry => ({
  kind: 'message',
  conversation: OPS,
  seq: seq as Seq,
  n: seq,
  id: `id-${seq}`,
  from: '$system',
  sentAt: 1,
  clientMessageId: String(id),
})

/** The server's side of one connection. */
class Wire {
  readonly published: string[] = []
  readonly #settle = new Map<string, (refusal?: Refusal) => void>()

  readonly publish = (topic: string, payload: string, settled: (refusal?: Refusal) => void) => {
    assert.equal(topic, TOPIC)
    const { clientMessageId } = JSON.parse(payload) as Sent
    this.published.push(clientMessageId)
    this.#settle.set(clientMessageId, settled)
  }

  answers(id: string | number, refusal?: Refusal): void {
    this.#settle.get(String(id))?.(refusal)
    this.#settle.delete(String(id))
  }
}

function outbox(given: Partial<OutboxNeeds> & { store?: Store } = {}) {
  const timers: (() => void)[] = []
  const refused: string[] = []
  const made = new Outbox({
    store: memoryStore(),
    limit: 10,
    topicOf: conversation => (conversation === OPS ? TOPIC : undefined),
    confirm: async (_, { clientMessageId }) => copy(clientMessageId, 99),
    confirmAfterMs: () => 2_000,
    after: (_, run) => {
      timers.push(run)
      return () => void timers.splice(timers.indexOf(run), 1)
    },
    sent: () => undefined,
    refused: ({ code }, _, { clientMessageId }) => void refused.push(`${clientMessageId} ${code}`),
    failed: assert.ifError,
    ...given,
  })
  return { made, timers, refused }
}

test('messages go out in the order they were given, as many as the window takes', () => {
  const { made } = outbox()
  for (const id of [1, 2, 3, 4]) made.add(OPS, draft(id))
  const wire = new Wire()
  made.connected(wire.publish, 2)
  assert.deepEqual(wire.published, ['1', '2'])
  wire.answers(1)
  assert.deepEqual(wire.published, ['1', '2', '3'])
})

test('what a lost connection left without an answer goes out again first, under the same id', () => {
  const { made } = outbox()
  const [first, second] = [new Wire(), new Wire()]
  made.connected(first.publish, 10)
  for (const id of [1, 2, 3]) made.add(OPS, draft(id))
  first.answers(2)
  made.disconnected()
  made.add(OPS, draft(4))
  made.connected(second.publish, 10)
  assert.deepEqual(second.published, ['1', '3', '4'])
})

test('a late answer on the old connection settles nothing on the new one', () => {
  const { made } = outbox()
  const [first, second] = [new Wire(), new Wire()]
  made.connected(first.publish, 1)
  for (const id of [1, 2]) made.add(OPS, draft(id))
  made.disconnected()
  made.connected(second.publish, 1)
  first.answers(1)
  assert.deepEqual(second.published, ['1'])
})

test("the sender's own copy is the outcome, with or without an acknowledgement", async () => {
  const { made } = outbox()
  made.connected(new Wire().publish, 10)
  const outcome = made.add(OPS, draft(1))
  made.stored(copy(1, 7))
  assert.equal((await outcome).seq, 7)
  assert.equal(made.size, 0)
})

test('an acknowledgement without a copy is followed by a question for the entry, until it is answered', async () => {
  let down = true
  const confirm: OutboxNeeds['confirm'] = async (_, { clientMessageId }) => {
    if (down) throw new Refusal('unreachable')
    return copy(clientMessageId, 12)
  }
  const { made, timers } = outbox({ confirm })
  const wire = new Wire()
  made.connected(wire.publish, 10)
  const outcome = made.add(OPS, draft(1))
  wire.answers(1)
  timers.shift()?.()
  await new Promise(resolve => setImmediate(resolve))
  down = false
  timers.shift()?.()
  assert.equal((await outcome).seq, 12)
})

test('a refusal is the outcome, and the next message is not held up by it', async () => {
  const { made, refused } = outbox()
  const wire = new Wire()
  made.connected(wire.publish, 1)
  const outcome = made.add(OPS, draft(1))
  made.add(OPS, draft(2))
  wire.answers(1, new Refusal('muted'))
  await assert.rejects(outcome, { code: 'muted', final: true })
  assert.deepEqual([wire.published, refused], [['1', '2'], ['1 muted']])
})

test('what cannot be taken is refused at once, and clearly', () => {
  const { made } = outbox({ limit: 2 })
  made.add(OPS, draft(1))
  made.add(OPS, draft(2))
  assert.throws(() => made.add(OPS, draft(3)), { code: 'outbox-full' })
  assert.throws(() => made.add(OPS, draft(1, 'other')), { code: 'client-message-id-reused' })
  assert.throws(() => made.add(ConversationId.parse('b:im'), draft(4)), { code: 'no-such-topic' })
  const { made: roomy } = outbox()
  assert.throws(() => roomy.add(OPS, draft(5, '字'.repeat(90_000))), { code: 'too-large' })
})

test('the same message given twice is one message', () => {
  const { made } = outbox()
  assert.equal(made.add(OPS, draft(1)), made.add(OPS, draft(1)))
  assert.equal(made.size, 1)
})

test('a kept outbox goes out with the next client, in order, and is empty after the acknowledgements', async () => {
  const store = memoryStore()
  const { made: before } = outbox({ store })
  for (const id of ['b', 'a', 'c']) before.add(OPS, draft(id))
  const wire = new Wire()
  before.connected(wire.publish, 10)
  wire.answers('a')
  before.close()

  const { made } = outbox({ store })
  made.load(await store.load())
  made.add(OPS, draft('d'))
  const next = new Wire()
  made.connected(next.publish, 10)
  assert.deepEqual(next.published, ['b', 'c', 'd'])
  for (const id of next.published) next.answers(id)
  assert.deepEqual([...(await store.load())], [])
})

test('closing refuses what waits without a claim that it will never be sent', async () => {
  const { made } = outbox()
  const outcome = made.add(OPS, draft(1))
  made.close()
  await assert.rejects(outcome, { code: 'closed', final: false })
})

test('whatever connections do, the server gets every message, first copies in order', () => {
  const step = fc.oneof(
    fc.constant({ kind: 'add' as const }),
    fc.record({ kind: fc.constant('connect' as const), window: fc.integer({ min: 1, max: 4 }) }),
    fc.constant({ kind: 'cut' as const }),
    fc.constant({ kind: 'answer' as const }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), steps => {
      const { made } = outbox({ limit: 100 })
      const arrived: string[] = []
      let wire = new Wire()
      let added = 0
      const connect = (window: number) => {
        made.disconnected()
        const next = new Wire()
        wire = next
        made.connected((topic, payload, settled) => {
          next.publish(topic, payload, settled)
          arrived.push((JSON.parse(payload) as Sent).clientMessageId)
        }, window)
      }
      for (const one of steps) {
        if (one.kind === 'add') made.add(OPS, draft(++added))
        if (one.kind === 'connect') connect(one.window)
        if (one.kind === 'cut') made.disconnected()
        if (one.kind === 'answer') wire.answers(wire.published.shift() ?? '')
      }
      connect(100)
      const first = [...new Set(arrived)]
      assert.deepEqual(
        first,
        Array.from({ length: added }, (_, i) => String(i + 1)),
      )
    }),
    { numRuns: 300 },
  )
})
