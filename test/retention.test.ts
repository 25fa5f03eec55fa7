/** Entries that are older than the setting: removed, told of as gaps, and counted as before. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { keyOf, type MessageLog } from '../core/ports.ts'
import type { Seq } from '../protocol/ids.ts'
import { IM, id, people, type World, world } from './support/core.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const OPS = keyOf(IM, id('g:ops'))

const first = async (log: MessageLog, key = OPS) => (await log.tails([key]))[0]?.first
/** Lets the clock run until the log says so. */
async function until(w: World, holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) {
    w.clock.advance(60_000)
    await new Promise(setImmediate)
  }
}
async function trimmed(t: TestContext, below: number) {
  const w = await world(t)
  const { alice, bob, carol } = await people(w, 'alice', 'bob', 'carol')
  await alice.ask('createGroup', { group: 'ops', name: 'Ops', members: ['bob'] })
  for (const n of [2, 3, 4, 5, 6, 7, 8, 9]) {
    w.clock.advance(HOUR)
    await alice.send('g:ops', `m${n}`)
  }
  await w.storage.log.trim(OPS, below as Seq)
  return { ...w, alice, bob, carol }
}

test('what is older than the setting is removed everywhere, but for the last entry, and not before', async t => {
  const w = await world(t, {}, { retentionMs: 10 * DAY })
  const { alice } = await people(w, 'alice', 'bob', 'carol')
  await alice.ask('createGroup', { group: 'ops', name: 'Ops', members: ['bob'] })
  await alice.chat('carol', 'old')
  const pair = keyOf(IM, id('u:alice:carol'))
  for (let day = 0; day < 8; day++) {
    w.clock.advance(DAY)
    await alice.send('g:ops', `day ${day}`)
  }
  await alice.chat('carol', 'new')
  for (let minute = 0; minute < 60; minute++) {
    w.clock.advance(60_000)
    await new Promise(setImmediate)
  }
  assert.deepEqual([await first(w.storage.log), await first(w.storage.log, pair)], [1, 1])
  // An hour after the tenth day.
  w.clock.advance(2 * DAY + HOUR)
  await until(w, async () => (await first(w.storage.log)) === 2 && (await first(w.storage.log, pair)) === 2)
  assert.deepEqual(await alice.says('g:ops'), [
    'gap 1-1',
    ...[2, 3, 4, 5, 6, 7, 8, 9].map(n => `${n} alice: day ${n - 2}`),
  ])
  w.clock.advance(30 * DAY)
  await until(w, async () => (await first(w.storage.log)) === 9)
  assert.deepEqual(await alice.says('g:ops'), ['gap 1-8', '9 alice: day 7'])
  await alice.send('g:ops', 'again')
  w.clock.advance(20 * DAY)
  await until(w, async () => (await first(w.storage.log)) === 10)
})

test('conversations that were there before the setting are swept too, however many', async t => {
  const w = await world(t)
  const { alice } = await people(w, 'alice')
  const groups = Array.from({ length: 120 }, (_, n) => `g${n}`)
  for (const group of groups) {
    await alice.ask('createGroup', { group, name: group })
    await alice.send(`g:${group}`, 'old')
  }
  w.clock.advance(3 * DAY)

  const core = await w.restart({ retentionMs: DAY })
  t.after(() => core[Symbol.asyncDispose]())
  const tails = () => w.storage.log.tails(groups.map(group => keyOf(IM, id(`g:${group}`))))
  await until(w, async () => (await tails()).every(tail => tail.first === 2))
})

test('history tells of what was removed in its place, whichever way it is read', async t => {
  const { alice, clock } = await trimmed(t, 6)
  const asked = async (range: object) => {
    const { items, next } = await alice.ask('listMessages', { conversation: 'g:ops', ...range } as never)
    return [
      ...items.map(item => (item.kind === 'gap' ? `${item.from}-${item.to} ${item.reason}` : item.seq)),
      next && '…',
    ]
  }
  const whole = ['1-5 retention', 6, 7, 8, 9, undefined]
  assert.deepEqual(await asked({}), whole)
  assert.deepEqual(await asked({ after: 0 }), whole)
  assert.deepEqual(await asked({ after: 3 }), ['4-5 retention', 6, 7, 8, 9, undefined])
  assert.deepEqual(await asked({ after: 5 }), [6, 7, 8, 9, undefined])
  assert.deepEqual(await asked({ after: 1, before: 4 }), ['2-3 retention', undefined])
  assert.deepEqual(await asked({ after: 1, before: 8, limit: 1 }), ['2-5 retention', 6, '…'])
  assert.deepEqual(await asked({ before: 4 }), ['1-3 retention', undefined])
  assert.deepEqual(await asked({ limit: 4 }), whole)
  assert.deepEqual(await asked({ limit: 3 }), [7, 8, 9, '…'])
  assert.deepEqual(await asked({ since: clock.now() - 10 * HOUR }), whole)
  assert.deepEqual(await asked({ since: clock.now() - HOUR }), [8, 9, undefined])
  assert.deepEqual(await asked({ until: clock.now() - 6 * HOUR }), ['1-5 retention', undefined])
  const { next } = await alice.ask('listMessages', { conversation: 'g:ops', limit: 2 } as never)
  const rest = await alice.ask('listMessages', { conversation: 'g:ops', cursor: next } as never)
  assert.deepEqual(
    rest.items.map(item => item.kind),
    ['gap', 'message', 'message'],
  )
})

test('who came later is told what is not theirs and what was removed, each as such', async t => {
  const { alice, carol, storage } = await trimmed(t, 2)
  await alice.ask('addMembers', { group: 'ops', members: ['carol'] })
  for (const text of ['a', 'b', 'c']) await alice.send('g:ops', text)
  await storage.log.trim(OPS, 12 as Seq)
  const { items } = await carol.ask('listMessages', { conversation: 'g:ops', after: 0 } as never)
  assert.deepEqual(
    items.map(item => (item.kind === 'gap' ? [item.from, item.to, item.reason] : item.seq)),
    [[1, 9, 'not-a-member'], [10, 11, 'retention'], 12, 13],
  )
})

test('counts stay, marks go on, and what is removed can be neither recalled nor receipted', async t => {
  const { alice, bob } = await trimmed(t, 6)
  assert.equal(await bob.unread('g:ops'), 8)
  await bob.ask('markRead', { conversation: 'g:ops', upTo: 3 } as never)
  assert.equal(await bob.unread('g:ops'), 4, 'what is gone is not unread any more')
  await bob.ask('markRead', { conversation: 'g:ops', upTo: 7 } as never)
  assert.equal(await bob.unread('g:ops'), 2)
  await alice.refused('no-such-entry', 'recallMessage', { conversation: 'g:ops', seq: 4 } as never)
  await alice.refused('no-such-entry', 'getReceipts', { conversation: 'g:ops', seq: 4 } as never)
  await alice.ask('recallMessage', { conversation: 'g:ops', seq: 9 } as never)
})
