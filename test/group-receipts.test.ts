/** Receipts in groups: of those who read or got a message, its sender hears, and who may ask. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Moved, News } from '../core/news.ts'
import { keyOf } from '../core/ports.ts'
import type { MemberRow } from '../core/tables.ts'
import type { ConversationId, GroupId, Member, Seq, UserId } from '../protocol/ids.ts'
import { type Asking, IM, people, person, type World, world } from './support/core.ts'

const between = 'u:alice:bob' as ConversationId
const read = (by: Asking, upTo: number, conversation: ConversationId = between) =>
  by.ask('markRead', { conversation, upTo })
const got = ({ core }: World, user: string, upTo: number, conversation = between) =>
  core.marks.delivered(IM, user as Member, conversation, upTo as Seq)
async function chatted(w: World, count: number) {
  const { alice, bob } = await people(w, 'alice', 'bob')
  for (let i = 0; i < count; i++) await alice.chat('bob', `${i}`)
  return { alice, bob }
}

test('in a group only the senders of the newly covered messages are told, and the members who are still in', async t => {
  const w = await world(t)
  const all = await people(w, 'alice', 'bob', 'carol', 'dave')
  const ops = 'ops' as GroupId
  const conversation = 'g:ops' as ConversationId
  await all.alice.ask('createGroup', { group: ops, name: 'Ops', members: ['bob', 'carol', 'dave'] as UserId[] })
  await all.carol.send('g:ops', 'first')
  await read(all.dave, 2, conversation)
  await w.told.hears('dave', 1)
  w.clock.advance(1000)
  await all.alice.send('g:ops', 'second')
  await all.bob.send('g:ops', 'third')
  await all.alice.ask('removeMember', { group: ops, user: 'bob' as UserId })

  await read(all.dave, 5, conversation)

  await w.told.hears('dave', 2)
  const count = (user: string) => w.told.receipts(user).length
  assert.deepEqual({ alice: count('alice'), bob: count('bob'), carol: count('carol') }, { alice: 1, bob: 0, carol: 1 })
})

async function crew(w: World) {
  const all = await people(w, 'alice', 'bob', 'carol', 'dave')
  const members = ['bob', 'carol', 'dave'] as UserId[]
  await all.alice.ask('createGroup', { group: 'ops' as GroupId, name: 'Ops', members })
  return { ...all, ops: 'g:ops' as ConversationId }
}

test('the receipt at the end of a second is told to the senders of all that it covers', async t => {
  const w = await world(t)
  const { alice, bob, carol, dave, ops } = await crew(w)
  for (const sender of [alice, bob, carol]) await sender.send(ops, 'x')
  await read(dave, 2, ops)
  await w.told.hears('dave', 1)
  await read(dave, 3, ops)
  await read(dave, 4, ops)

  w.clock.advance(1000)

  await w.told.hears('dave', 2)
  const heard = (user: string) => w.told.receipts(user).map(({ readUpTo }) => readUpTo)
  assert.deepEqual([heard('alice'), heard('bob'), heard('carol')], [[2], [4], [4]])
})

test('of several who got messages in the same second, a sender hears of those who newly got the own one', async t => {
  const w = await world(t)
  const { alice, bob, ops } = await crew(w)
  await alice.send(ops, 'from alice')
  got(w, 'carol', 2, ops)
  w.clock.advance(1000)
  await w.told.hears('carol', 1)
  w.clock.advance(1000)
  await bob.send(ops, 'from bob')

  for (const user of ['carol', 'dave']) got(w, user, 3, ops)
  w.clock.advance(1000)

  await w.told.hears('dave', 1)
  const heard = (user: string) => w.told.receipts(user).map(({ user, deliveredUpTo }) => `${user} ${deliveredUpTo}`)
  assert.deepEqual(
    [heard('alice'), heard('bob')],
    [
      ['carol 2', 'dave 3'],
      ['carol 3', 'dave 3'],
    ],
  )
})

test('a receipt that comes late is told to the senders whom it covers alone', async t => {
  const w = await world(t)
  const { alice, bob, ops } = await crew(w)
  await alice.send(ops, 'x')
  await bob.send(ops, 'y')
  const roster = async () => new Map(['alice', 'bob', 'dave'].map(user => [user as Member, {} as MemberRow]))
  const news = new News({ log: w.storage.log, members: { roster }, connections: w.told, scheduler: w.clock })
  const comes = (moved: Moved) => news.tell(keyOf(IM, ops), [{ member: 'dave' as Member, moved }])

  await comes({ deliveredUpTo: 3, before: 2 })
  await comes({ deliveredUpTo: 2, before: 1 })
  w.clock.advance(1000)

  const receipt = { kind: 'receipt', conversation: ops, user: 'dave', deliveredUpTo: 3 }
  assert.deepEqual(await w.told.hears('alice', 1), [receipt])
  assert.deepEqual(await w.told.hears('dave', 2), [receipt, receipt])
  news.close()
})

test('in a group of more than 200 nobody is told, and everybody may ask', async t => {
  const w = await world(t)
  const crowd = Array.from({ length: 200 }, (_, i) => `m${String(i).padStart(3, '0')}`)
  const all = await people(w, 'alice', ...crowd)
  const ops = 'ops' as GroupId
  const conversation = 'g:ops' as ConversationId
  await all.alice?.ask('createGroup', { group: ops, name: 'Ops', members: crowd as UserId[] })
  await all.alice?.send('g:ops', 'hello')
  const m000 = person(w.core, 'm000')

  await read(m000, 2, conversation)
  w.clock.advance(5000)
  await m000.chat('alice', 'a receipt that is told')
  await read(all.alice as Asking, 1, 'u:alice:m000' as ConversationId)

  await w.told.hears('m000', 1)
  assert.deepEqual(
    w.told.receipts('alice').map(({ conversation }) => conversation),
    ['u:alice:m000'],
  )
  const first = await m000.ask('getReceipts', { conversation, seq: 2, limit: 150 })
  const second = await m000.ask('getReceipts', { conversation, seq: 2, limit: 150, cursor: first.next })
  const items = [...first.items, ...second.items]
  assert.deepEqual(
    items.map(({ user }) => user),
    crowd,
  )
  assert.deepEqual(items[0], { user: 'm000', readUpTo: 2, deliveredUpTo: 2 })
  assert.equal(second.next, undefined)
})

test('receipts are asked by members for entries that are there', async t => {
  const w = await world(t)
  const { alice } = await chatted(w, 1)
  const { eve } = await people(w, 'eve')

  await eve.refused('not-a-member', 'getReceipts', { conversation: between, seq: 1 })
  await alice.refused('no-such-entry', 'getReceipts', { conversation: between, seq: 2 })
  const { items } = await alice.ask('getReceipts', { conversation: between, seq: 1 })
  assert.deepEqual(items, [{ user: 'bob', deliveredUpTo: 0, readUpTo: 0 }])
})
