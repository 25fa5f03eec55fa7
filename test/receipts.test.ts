/** Receipts: marks that only go up, and who is told of them when. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Moved, News } from '../core/news.ts'
import { keyOf } from '../core/ports.ts'
import type { ConversationId, Member, Seq } from '../protocol/ids.ts'
import { type Asking, IM, people, type World, world } from './support/core.ts'

const between = 'u:alice:bob' as ConversationId
const read = (by: Asking, upTo: number, conversation: ConversationId = between) =>
  by.ask('markRead', { conversation, upTo })
const got = ({ core }: World, user: string, upTo: number, conversation = between) =>
  core.marks.delivered(IM, user as Member, conversation, upTo as Seq)
async function marksOf(by: Asking, conversation: ConversationId = between) {
  const { readUpTo, deliveredUpTo } = await by.ask('getConversation', { conversation })
  return { readUpTo, deliveredUpTo }
}
async function chatted(w: World, count: number) {
  const { alice, bob } = await people(w, 'alice', 'bob')
  for (let i = 0; i < count; i++) await alice.chat('bob', `${i}`)
  return { alice, bob }
}

test('reading is told to the senders of what was read and to the own devices of the reader', async t => {
  const w = await world(t)
  const { bob } = await chatted(w, 3)

  await read(bob, 2)

  const receipt = { kind: 'receipt', conversation: 'u:alice:bob', user: 'bob', readUpTo: 2, deliveredUpTo: 2 }
  assert.deepEqual(await w.told.hears('alice', 1), [receipt])
  assert.deepEqual(await w.told.hears('bob', 1), [receipt])
  assert.equal(await bob.unread('u:alice:bob'), 1)
})

test('a mark never goes down, and never past the end', async t => {
  const w = await world(t)
  const { bob } = await chatted(w, 3)

  await read(bob, 0)
  await Promise.all([read(bob, 1), read(bob, 3), read(bob, 2)])

  assert.deepEqual(await marksOf(bob), { readUpTo: 3, deliveredUpTo: 3 })
  const fault = await bob.refused('beyond-the-end', 'markRead', { conversation: between, upTo: 4 })
  assert.deepEqual(fault.details, { tail: 3 })
  await read(bob, 1)
  assert.deepEqual(await marksOf(bob), { readUpTo: 3, deliveredUpTo: 3 })
})

test('several receipts of one reader within a second become one at its end', async t => {
  const w = await world(t)
  const { bob } = await chatted(w, 5)

  await read(bob, 1)
  await w.told.hears('alice', 1)
  for (const upTo of [2, 3, 5]) await read(bob, upTo)
  assert.equal(w.told.receipts('alice').length, 1)
  w.clock.advance(1000)

  const told = await w.told.hears('alice', 2)
  assert.deepEqual(
    told.map(({ readUpTo }) => readUpTo),
    [1, 5],
  )
})

test('what sessions acknowledge is written and told every second, the highest of all', async t => {
  const w = await world(t)
  const { alice, bob } = await chatted(w, 5)

  for (const upTo of [2, 4, 3]) got(w, 'bob', upTo)
  w.clock.advance(1000)

  const told = await w.told.hears('alice', 1)
  assert.deepEqual(told, [{ kind: 'receipt', conversation: 'u:alice:bob', user: 'bob', deliveredUpTo: 4 }])
  assert.deepEqual(await marksOf(bob), { readUpTo: 0, deliveredUpTo: 4 })
  got(w, 'bob', 1)
  got(w, 'alice', 5)
  w.clock.advance(1000)
  await w.told.hears('alice', 2)
  assert.deepEqual(await marksOf(bob), { readUpTo: 0, deliveredUpTo: 4 })
  assert.deepEqual(await marksOf(alice), { readUpTo: 0, deliveredUpTo: 5 })
})

test('what was read already is not told again when a session acknowledges it', async t => {
  const w = await world(t)
  const { bob } = await chatted(w, 5)
  const hears = async (count: number) => {
    const told = await w.told.hears('alice', count)
    w.clock.advance(1000)
    return told.map(({ deliveredUpTo }) => deliveredUpTo)
  }
  got(w, 'bob', 1)
  w.clock.advance(1000)
  await hears(1)

  await read(bob, 4)
  await hears(2)
  for (const upTo of [3, 5]) {
    got(w, 'bob', upTo)
    w.clock.advance(1000)
  }

  assert.deepEqual(await hears(3), [1, 4, 5])
})

test('of receipts that come out of order only what is higher is told', async t => {
  const w = await world(t)
  await chatted(w, 9)
  const news = new News({
    log: w.storage.log,
    members: { roster: assert.fail },
    connections: w.told,
    scheduler: w.clock,
  })
  const comes = (moved: Moved) => news.tell(keyOf(IM, between), [{ member: 'bob' as Member, moved }])

  await comes({ readUpTo: 5, deliveredUpTo: 5, before: 2 })
  for (const deliveredUpTo of [3, 7, 6] as const) await comes({ deliveredUpTo, before: 2 })
  await comes({ readUpTo: 4, deliveredUpTo: 5, before: 2 })
  w.clock.advance(1000)
  await comes({ readUpTo: 4, deliveredUpTo: 7, before: 2 })
  w.clock.advance(1000)
  await comes({ readUpTo: 8, deliveredUpTo: 8, before: 7 })

  const told = await w.told.hears('alice', 3)
  assert.deepEqual(
    told.map(({ readUpTo, deliveredUpTo }) => [readUpTo, deliveredUpTo]),
    [
      [5, 5],
      [5, 7],
      [8, 8],
    ],
  )
  news.close()
})

test('a mark that was written without an answer is told when it is written again', async t => {
  let lost = 0
  const w = await world(t, { losesRows: changes => changes[0]?.table.name === 'delivered' && ++lost === 1 })
  const { bob } = await chatted(w, 5)
  got(w, 'bob', 3)
  w.clock.advance(1000)
  while (lost === 0) await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(await marksOf(bob), { readUpTo: 0, deliveredUpTo: 3 })
  got(w, 'bob', 2)

  w.clock.advance(1000)

  assert.deepEqual(await w.told.hears('alice', 1), [
    { kind: 'receipt', conversation: 'u:alice:bob', user: 'bob', deliveredUpTo: 3 },
  ])
})

test('while marks are being written, those that come wait for one write', async t => {
  const w = await world(t)
  const { bob } = await chatted(w, 6)
  const { records } = w.storage
  const write = records.write
  let goOn = () => {}
  let writes = 0
  const held = new Promise<void>(resolve => {
    goOn = resolve
  })
  records.write = async (changes, options) => {
    if (++writes === 1) await held
    return write(changes, options)
  }
  got(w, 'bob', 1)
  w.clock.advance(1000)
  while (writes === 0) await new Promise(resolve => setImmediate(resolve))
  for (const upTo of [2, 3, 4, 5]) {
    got(w, 'bob', upTo)
    w.clock.advance(1000)
  }
  got(w, 'bob', 6)
  goOn()

  await w.core[Symbol.asyncDispose]()

  assert.equal(writes, 2)
  assert.deepEqual(await marksOf(bob), { readUpTo: 0, deliveredUpTo: 6 })
})

test('marks that wait when the server stops are written', async t => {
  const w = await world(t)
  const { bob } = await chatted(w, 2)
  got(w, 'bob', 2)

  await w.core[Symbol.asyncDispose]()

  assert.deepEqual(await marksOf(bob), { readUpTo: 0, deliveredUpTo: 2 })
})

test('reading and delivery at once lose neither', async t => {
  const w = await world(t)
  const { bob } = await chatted(w, 40)
  for (let upTo = 1; upTo <= 40; upTo++) {
    got(w, 'bob', upTo)
    w.clock.advance(1000)
    await read(bob, upTo - 1)
  }
  await w.core[Symbol.asyncDispose]()

  assert.deepEqual(await marksOf(bob), { readUpTo: 39, deliveredUpTo: 40 })
})
