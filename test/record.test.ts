/** What a connection leaves is written, also where storage has only just come back when the server ends. */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { Cursor } from '../broker/cursor.ts'
import { SessionRecord } from '../broker/record.ts'
import { SessionStore } from '../broker/sessions.ts'
import { type Change, keyOf, type Records } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import { AppId, type ConversationId, type Member } from '../protocol/ids.ts'
import { openStorage } from '../storage/open.ts'
import { TestClock } from './support/core.ts'

const ID = { app: AppId.parse('im'), member: 'bob' as Member, clientId: 'phone' }
const WISH = { clean: false, expirySeconds: 60, grant: 'g' }

for (const [refusals, outcome] of [
  [3, 'is written'],
  [100, 'is given up'],
] as const)
  test(`after ${refusals} refusals what is in flight ${outcome} by a server that ends`, async () => {
    await using storage = await openStorage({ engine: 'memory', clock: { now: () => 1_000 } })
    let left = 0
    const records: typeof storage.records = {
      get: (...asked) => storage.records.get(...asked),
      getMany: (...asked) => storage.records.getMany(...asked),
      scan: (...asked) => storage.records.scan(...asked),
      write: async (...asked) => {
        if (left-- > 0) throw new Fault('log-unavailable')
        return storage.records.write(...asked)
      },
    }
    const pauses: number[] = []
    const scheduler = {
      now: () => 1_000,
      soon: (run: () => void) => setImmediate(run),
      after: (ms: number, run: () => void) => {
        pauses.push(ms)
        setImmediate(run)
        return () => {}
      },
    }
    const store = new SessionStore({ records, scheduler })
    const nothing = () => {}
    const needs = { store, scheduler, failed: nothing, lost: nothing, stopping: () => true, others: false }
    const record = new SessionRecord(await store.open(ID, WISH), needs)
    left = refusals
    const closed = record.close(
      { expirySeconds: 60, mayRepeat: true, origins: async () => [] },
      { inFlight: [[7, 'g:ops' as ConversationId, 1, 1]] },
    )
    if (refusals > 10) await assert.rejects(closed, { code: 'log-unavailable' })
    else await closed
    assert.deepEqual(pauses, [50, 200, 1_000])
    left = 0
    const { row } = await store.open(ID, WISH)
    assert.equal(row.inFlight.length, refusals > 10 ? 0 : 1)
  })

for (const [others, waits] of [
  [false, 200],
  [true, 2_000],
] as const)
  test(`positions wait ${waits} ms ${others ? 'where nodes share a storage' : 'on a server by itself'}, for one write`, async () => {
    const clock = new TestClock()
    await using storage = await openStorage({ engine: 'memory', clock })
    const writes = new EventEmitter()
    const write: Records['write'] = (changes, how) => {
      writes.emit('write', changes)
      return storage.records.write(changes, how)
    }
    const records = { get: storage.records.get.bind(storage.records), write } as Records
    const store = new SessionStore({ records, scheduler: clock })
    const opened = await store.open(ID, WISH)
    const needs = { store, scheduler: clock, failed: assert.fail, lost: assert.fail, stopping: () => false, others }
    const record = new SessionRecord(opened, needs)
    const ops = 'g:ops' as ConversationId
    const cursor = new Cursor({ arrived: () => {} }, ops, keyOf(ID.app, ops), 0)
    let isWritten = false
    const written = once(writes, 'write').finally(() => {
      isWritten = true
    })
    for (const seq of [1, 2]) {
      cursor.settle(seq, seq)
      record.moved(cursor)
      clock.advance(waits / 2 - 1)
      await new Promise(resolve => setImmediate(resolve))
    }
    assert.equal(isWritten, false)
    cursor.settle(3, 3)
    clock.advance(2)
    const [changes] = (await written) as [Change[]]
    assert.deepEqual(
      changes.flatMap(({ row }) => row ?? []),
      [cursor.stored(opened.row.epoch)],
    )
  })

test('a session is taken back from who took its node for dead, and not from a newer owner', async () => {
  const clock = new TestClock()
  await using storage = await openStorage({ engine: 'memory', clock })
  const [store, other] = ['n1/a', 'n2/b'].map(
    run => new SessionStore({ records: storage.records, scheduler: clock, run }),
  ) as [SessionStore, SessionStore]
  const opened = await store.open(ID, WISH)
  let isLost = false
  const lost = () => {
    isLost = true
  }
  const needs = { store, scheduler: clock, failed: assert.fail, lost, stopping: () => false, others: true }
  const record = new SessionRecord(opened, needs)
  const standing = async () => (await store.standing([record.row]))[0]
  assert.equal(await standing(), 'here')
  for (const goesOn of [() => record.claim(), () => record.save([])]) {
    await other.recover(0, 'n1/a')
    assert.equal(await standing(), 'given up')
    await goesOn()
    assert.deepEqual([await standing(), isLost], ['here', false])
  }
  await other.recover(0, 'n1/a')
  await other.open(ID, WISH)
  assert.equal(await standing(), 'elsewhere')
  await assert.rejects(record.save([]), { code: 'conflict' })
  assert.equal(isLost, true)
})

/** A session of the only node, of which nothing fails. */
async function recorded(t: TestContext) {
  const clock = new TestClock()
  const storage = await openStorage({ engine: 'memory', clock })
  t.after(() => storage[Symbol.asyncDispose]())
  const store = new SessionStore({ records: storage.records, scheduler: clock })
  const opened = await store.open(ID, WISH)
  const fails = { failed: assert.fail, lost: assert.fail, stopping: () => false }
  return { store, opened, record: new SessionRecord(opened, { store, scheduler: clock, others: false, ...fails }) }
}

test('positions in more conversations than one write takes are written all the same', async t => {
  const { store, opened, record } = await recorded(t)
  for (let nth = 0; nth < 20_001; nth++) {
    const conversation = `g:${nth}` as ConversationId
    const cursor = new Cursor({ arrived: () => {} }, conversation, keyOf(ID.app, conversation), 0)
    cursor.settle(1, 1)
    record.moved(cursor)
  }
  await record.close({ expirySeconds: 60, mayRepeat: true, origins: async () => [] }, { inFlight: [], torn: true })
  assert.equal((await store.cursors(opened.row)).size, 20_001)
  assert.ok((await store.open(ID, WISH)).torn)
})

test('what is subscribed behind the end of a connection changes nothing of what it left', async t => {
  const { store, opened, record } = await recorded(t)
  const closed = record.close({ expirySeconds: 60, mayRepeat: true, origins: async () => [] }, { inFlight: [] })
  await Promise.all([closed, record.save([])])
  assert.deepEqual(await store.standing([opened.row]), ['given up'])
  assert.equal((await store.open(ID, WISH)).torn, false)
})
