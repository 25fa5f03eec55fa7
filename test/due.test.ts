/** Sessions whose time has come are found soon, also where their row was written long after it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SESSIONS, type SessionRow } from '../broker/session-rows.ts'
import { Due } from '../core/due.ts'
import { put, remove, type Storage } from '../core/ports.ts'
import { AppId, type Member } from '../protocol/ids.ts'
import { openStorage } from '../storage/open.ts'

const MINUTE_MS = 60_000
const start = 1_790_000_000_000

async function ended(storage: Storage, clientId: string, expiresAt: number): Promise<void> {
  const id = { app: AppId.parse('im'), member: 'bob' as Member, clientId }
  const row: SessionRow = {
    v: 2,
    ...id,
    epoch: start,
    filters: [],
    inFlight: [],
    expirySeconds: 60,
    grant: 'g',
    expiresAt,
  }
  await storage.records.write([put(SESSIONS, 'im/bob', clientId, row)])
}

test('what is due is given in its order, and nothing that is not', async () => {
  let now = start
  await using storage = await openStorage({ engine: 'memory', clock: { now: () => now } })
  const due = new Due(SESSIONS, 'ends', { records: storage.records, scheduler: { now: () => now } })
  const first = async (limit = 500) => (await due.first(limit)).map(({ key }) => key)
  await ended(storage, 'tablet', start + 2 * MINUTE_MS)
  await ended(storage, 'phone', start + MINUTE_MS)
  assert.deepEqual(await first(), [])
  now = start + MINUTE_MS - 1
  assert.deepEqual(await first(), [])
  now += 1
  assert.deepEqual(await first(), ['phone'])
  now += MINUTE_MS
  assert.deepEqual(await first(), ['phone', 'tablet'])
  assert.deepEqual(await first(1), ['phone'])
})

test('what was written nine minutes late is found at once, and two hours late within ten minutes', async () => {
  let now = start
  await using storage = await openStorage({ engine: 'memory', clock: { now: () => now } })
  const due = new Due(SESSIONS, 'ends', { records: storage.records, scheduler: { now: () => now } })
  const first = async () => (await due.first(500)).map(({ key }) => key)
  assert.deepEqual(await first(), [])
  await ended(storage, 'late', start - 9 * MINUTE_MS)
  await ended(storage, 'very late', start - 120 * MINUTE_MS)
  assert.deepEqual(await first(), ['late'])
  now += 10 * MINUTE_MS
  assert.deepEqual(await first(), ['very late', 'late'])
  assert.deepEqual(await first(), ['very late', 'late'], 'until it is dealt with')
})

test('no scan passes what was removed in more than ten minutes of the last hours', async () => {
  let now = start
  await using storage = await openStorage({ engine: 'memory', clock: { now: () => now } })
  /** But for what storage has forgotten marks of. */
  const spans: [from: number, below: number][] = []
  const scan: Storage['records']['scan'] = (table, partition, range) => {
    if (Number(range.below) > now - 180 * MINUTE_MS) spans.push([Number(range.from), Number(range.below)])
    return storage.records.scan(table, partition, range)
  }
  const due = new Due(SESSIONS, 'ends', { records: { scan }, scheduler: { now: () => now } })
  for (let minute = 0; minute < 30; minute++) {
    await ended(storage, `${minute}`, now - minute * 20 * MINUTE_MS)
    await due.first(500)
    now += MINUTE_MS
  }
  assert.ok(spans.length > 50 && spans.every(([from, below]) => below - from <= 10 * MINUTE_MS + 1))
  now += 10 * MINUTE_MS
  const keys = (await due.first(500)).map(({ key }) => Number(key))
  assert.deepEqual(
    keys.sort((a, b) => a - b),
    Array.from({ length: 30 }, (_, minute) => minute),
  )
})

test('of many that are long due, what is done is not passed again by the next page, nor what comes below it forgotten', async () => {
  let now = start
  await using storage = await openStorage({ engine: 'memory', clock: { now: () => now } })
  const passed: number[] = []
  const scan: Storage['records']['scan'] = async (table, partition, range) => {
    const found = await storage.records.scan(table, partition, range)
    if (found.length > 0) passed.push(removed.filter(at => at >= Number(range.from)).length)
    return found
  }
  const due = new Due(SESSIONS, 'ends', { records: { scan }, scheduler: { now: () => now } })
  const removed: number[] = []
  for (let nth = 0; nth < 1_000; nth++) await ended(storage, `${nth}`, start - (2_000 - nth) * MINUTE_MS)
  for (let page = await due.first(100); page.length > 0; page = await due.first(100)) {
    await storage.records.write(page.map(({ partition, key }) => remove(SESSIONS, partition, key)))
    removed.push(...page.map(({ row }) => row.expiresAt as number))
    if (removed.length === 300) await ended(storage, 'below', start - 3_000 * MINUTE_MS)
  }
  assert.equal(removed.length, 1_000)
  assert.ok(passed.length >= 10 && passed.every(marks => marks <= 100), `${passed}`)
  now += 10 * MINUTE_MS
  assert.deepEqual(
    (await due.first(100)).map(({ key }) => key),
    ['below'],
  )
})
