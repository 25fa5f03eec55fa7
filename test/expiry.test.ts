/** Sessions that nobody is connected to: no will is lost or told too late, and nothing of one session harms the next. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Expiry } from '../broker/expiry.ts'
import { CURSORS, connectedTo, rankOf, SESSIONS, type SessionRow, sessionKey } from '../broker/session-rows.ts'
import { SessionStore } from '../broker/sessions.ts'
import { Upkeep } from '../broker/upkeep.ts'
import { putRanked, type Records, type Storage } from '../core/ports.ts'
import { AppId, type ConversationId, type Member } from '../protocol/ids.ts'
import { openStorage } from '../storage/open.ts'
import { TestClock } from './support/core.ts'

/** Nothing of that fails here. */
const unexpected = (error: unknown) => assert.fail(String(error))
const OPS = 'g:ops' as ConversationId
const WISH = { clean: false, expirySeconds: 60, grant: 'g' }
const idOf = (clientId: string) => ({ app: AppId.parse('im'), member: 'd:pump' as Member, clientId })
const willOf = (id: string) => ({ id, topic: 'im/d/pump/telemetry', payload: '', qos: 1 as const, delayMs: 0 })

async function made() {
  const clock = new TestClock()
  const storage = await openStorage({ engine: 'memory', clock })
  const { records } = storage
  const store = new SessionStore({ records, scheduler: clock })
  return { clock, storage, records, store, expiry: new Expiry({ records, scheduler: clock, store }) }
}
type Made = Awaited<ReturnType<typeof made>>

/** It was connected when the server went down, with a will. */
async function left({ store, clock }: Made, clientId: string): Promise<void> {
  const { row, version } = await store.open(idOf(clientId), { ...WISH, will: willOf(clientId) })
  await store.save({ ...row, willAt: clock.now() + 30_000, expiresAt: clock.now() + 90_000 }, version, [])
}
const headOf = async ({ records }: Made, clientId: string) =>
  (await records.get(SESSIONS, 'im/d:pump', clientId))?.row as SessionRow | undefined
const positionsOf = async ({ store }: Made, row: SessionRow) => [...(await store.cursors(row)).keys()]
const moved = ({ records }: { records: Storage['records'] }, row: SessionRow) =>
  records.write([putRanked(CURSORS, sessionKey(row), OPS, { e: row.epoch, a: 7 }, rankOf(row.epoch, 1))])

test('of sessions that expired while nobody told wills, no will is lost', async () => {
  const it = await made()
  await using _ = it.storage
  for (let nth = 0; nth < 1_200; nth++) await left(it, `c${nth}`)
  it.clock.advance(3_600_000)
  await it.expiry.sweep()
  const told = new Set<string>()
  const tell = async (row: SessionRow) => void told.add(row.clientId)
  while ((await it.expiry.tellWills(tell, unexpected)) > 0) {}
  assert.equal(told.size, 1_200)
  it.clock.advance(60_001)
  while ((await it.expiry.sweep()) > 0) {}
  assert.deepEqual(await it.records.scan(SESSIONS, 'ends', { index: 'ends', limit: 1 }), [])
})

test('a will that cannot be told waits, its session is over all the same, and the others are told', async () => {
  const it = await made()
  await using _ = it.storage
  for (const clientId of ['a', 'b']) await left(it, clientId)
  it.clock.advance(90_001)
  const told: string[] = []
  const failed: unknown[] = []
  const tell = async ({ clientId }: SessionRow) => {
    if (clientId === 'a' && failed.length === 0) throw new Error('away')
    told.push(clientId)
  }
  assert.equal(await it.expiry.tellWills(tell, error => failed.push(error)), 1)
  assert.equal(await it.expiry.sweep(), 2)
  assert.equal(failed.length, 1)
  assert.equal((await headOf(it, 'a'))?.expirySeconds, 0)
  assert.equal(await headOf(it, 'b'), undefined)
  await it.expiry.tellWills(tell, unexpected)
  assert.deepEqual(told, ['b', 'a'])
})

test('a will is not told when its client has come back while those before it were told', async () => {
  const it = await made()
  await using _ = it.storage
  for (const clientId of ['a', 'b']) await left(it, clientId)
  it.clock.advance(30_001)
  const told: string[] = []
  const tell = async ({ clientId }: SessionRow) => {
    told.push(clientId)
    if (clientId === 'a') await it.store.open(idOf('b'), WISH)
  }
  await it.expiry.tellWills(tell, unexpected)
  assert.deepEqual(told, ['a'])
})

test('wills are told by one at a time, however long that takes', async () => {
  const it = await made()
  await using _ = it.storage
  await left(it, 'a')
  it.clock.advance(30_001)
  let begun = 0
  let back = () => {}
  const run = () => {
    begun++
    return new Promise<void>(resolve => {
      back = resolve
    })
  }
  const table = { all: () => [] }
  const observer = { failed: assert.fail }
  const { store, records, clock: scheduler } = it
  const needs = { table, store, records, run, scheduler, observer, isFirst: () => true }
  const upkeep = new Upkeep(needs as unknown as ConstructorParameters<typeof Upkeep>[0])
  upkeep.start()
  const turns = async () => {
    for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve))
  }
  for (let tick = 0; tick < 10; tick++) {
    it.clock.advance(1_001)
    await turns()
  }
  assert.equal(begun, 1)
  upkeep.stop()
  back()
  await turns()
})

test('the next session of a name is of a later epoch, also where many connects took it ahead of the clock', async () => {
  const it = await made()
  await using _ = it.storage
  let opened = await it.store.open(idOf('a'), WISH)
  for (let nth = 0; nth < 60; nth++) opened = await it.store.open(idOf('a'), WISH)
  const { epoch } = opened.row
  assert.ok(epoch > it.clock.now())
  await moved(it, opened.row)
  await it.store.end(opened.row, opened.version)
  const next = await it.store.open(idOf('a'), WISH)
  assert.ok(next.row.epoch > epoch)
  assert.deepEqual([next.resumed, await positionsOf(it, next.row)], [false, []])
  await it.store.end(next.row, next.version)
  it.clock.advance(120_000)
  await it.expiry.sweep()
  assert.equal(await headOf(it, 'a'), undefined)
})

test('a clean start that comes too late takes no positions from the session that goes on', async () => {
  const it = await made()
  await using _ = it.storage
  const first = await it.store.open(idOf('a'), WISH)
  await moved(it, first.row)
  await it.store.save({ ...first.row, expiresAt: it.clock.now() + 60_000 }, first.version, [])
  let resumed: SessionRow | undefined
  const late: Records['write'] = async (changes, how) => {
    resumed ??= (await it.store.open(idOf('a'), WISH)).row
    assert.deepEqual(await positionsOf(it, resumed), [OPS])
    return it.records.write(changes, how)
  }
  const { get, scan, getMany } = it.records
  const records = {
    get: get.bind(it.records),
    scan: scan.bind(it.records),
    getMany: getMany.bind(it.records),
    write: late,
  }
  const other = new SessionStore({ records, scheduler: it.clock })
  const clean = await other.open(idOf('a'), { ...WISH, clean: true })
  assert.deepEqual([clean.resumed, await positionsOf(it, clean.row)], [false, []])
})

test('of a cluster what is connected, due and over is found, of this version and of the one before, in many places', async () => {
  const clock = new TestClock()
  await using storage = await openStorage({ engine: 'memory', clock })
  const { records } = storage
  const [run, other] = ['im1/a', 'im2/a'].map(run => new SessionStore({ records, scheduler: clock, run }))
  assert.ok(run && other)
  const connected = async (store: SessionStore, clientId: string) => {
    clock.advance(7)
    return store.open(idOf(clientId), WISH)
  }
  for (let nth = 0; nth < 640; nth++) await connected(run, `c${nth}`)
  const { row: before, version } = await connected(run, 'before')
  await run.save({ ...before, v: 1, will: willOf('before') }, version, [])
  await connected(other, 'elsewhere')
  const found = async (clientId: string) =>
    (await records.get(SESSIONS, 'im/d:pump', clientId))?.row.expiresAt !== undefined
  const places = await Promise.all(
    connectedTo('im1/a').map(place => records.scan(SESSIONS, place, { index: 'connected', limit: 1_000 })),
  )
  assert.ok(places.every(page => page.length <= 40))
  await other.recover(30_000, 'im1/a')
  for (const clientId of ['before', ...Array.from({ length: 640 }, (_, nth) => `c${nth}`)])
    assert.ok(await found(clientId), clientId)
  assert.ok(!(await found('elsewhere')))
  const expiry = new Expiry({ records, scheduler: clock, store: other })
  const told: string[] = []
  clock.advance(30_001)
  while ((await expiry.tellWills(async row => void told.push(row.clientId), unexpected)) > 0) {}
  assert.deepEqual(told, ['before'])
  clock.advance(90_001)
  while ((await expiry.sweep()) > 0) {}
  assert.deepEqual([await found('before'), await found('c0'), await found('c639')], [false, false, false])
})
