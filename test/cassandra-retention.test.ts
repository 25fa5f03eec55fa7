/** Retention on Cassandra: whole buckets go, by several servers at once and behind one that died, and reads stay quick. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type ConversationKey, put, remove, type Storage, table } from '../core/ports.ts'
import { markFirst } from '../storage/cassandra/ends.ts'
import type { Ring } from '../storage/cassandra/ring.ts'
import { conversation, fault, OPS, range, says, seq, TestClock } from './contracts/ground.ts'
import { cassandra, keyspaceOf, openedBy, ringOf } from './support/keyspace.ts'
import { figures, scale } from './support/proof.ts'

const { hosts, skip } = await cassandra()
const DAY_MS = 86_400_000

async function ground(t: TestContext, count: number, bucketSize: number) {
  const ours = keyspaceOf(t, hosts, { bucketSize })
  const clock = new TestClock()
  const all = await openedBy(t, ours, count, clock)
  const ring = await ringOf(ours, ours.keyspace)
  t.after(() => ring[Symbol.asyncDispose]())
  return { all, clock, ring }
}
const talk = ({ log }: Storage, count: number, from = 1, key = OPS, each = 1) =>
  Promise.all(
    range(from, from + count - 1).map(n => log.append(key, says(`${n}`, n % each === 0 ? `c-${n}` : undefined))),
  )

/** Of a bucket, as Cassandra has them: entries, and what finds repeats. */
async function rowsOf(ring: Ring, key: ConversationKey, bucket: number): Promise<[entries: number, repeats: number]> {
  const query = 'SELECT seq, name FROM log WHERE conversation = ? AND bucket = ?'
  const rows = (await ring.read(query, [key, bucket])).filter(({ seq }) => seq !== null)
  const entries = rows.filter(({ seq }) => Number(seq) > 0).length
  return [entries, rows.length - entries]
}

test('what was trimmed is gone from Cassandra, also where who trimmed died half way', { skip }, async t => {
  const { all, ring } = await ground(t, 1, 20)
  const [one] = all as [Storage]
  await talk(one, 100)
  // It had hidden them, and removed none.
  await ring.write([markFirst(OPS, 41)])
  assert.deepEqual(await rowsOf(ring, OPS, 0), [20, 20])
  await one.log.trim(OPS, seq(61))
  assert.deepEqual(await Promise.all(range(0, 4).map(bucket => rowsOf(ring, OPS, bucket))), [
    ...range(0, 2).map(() => [0, 20]),
    ...range(3, 4).map(() => [20, 20]),
  ])
  for (const n of [1, 20, 41, 60]) {
    const repeat = await one.log.append(OPS, says(`${n}`, `c-${n}`))
    assert.deepEqual([repeat.seq, repeat.repeated, repeat.entry.retracted], [n, true, 'retention'])
  }
})

test('servers that trim, append and read at once lose and double nothing', { skip }, async t => {
  const { all, ring } = await ground(t, 2, 20)
  const [one, other] = all as [Storage, Storage]
  await talk(one, 200)
  const reads = range(1, 6).map(async n => {
    const page = await other.log.read(OPS, { after: seq(n * 20), limit: 100 })
    const [first] = page
    assert.deepEqual(
      page.map(({ seq }) => seq),
      range(first?.seq ?? 1, (first?.seq ?? 1) + page.length - 1),
    )
  })
  await Promise.all([
    ...reads,
    one.log.trim(OPS, seq(101)),
    other.log.trim(OPS, seq(141)),
    talk(one, 60, 201),
    other.log.trim(OPS, seq(101)),
    one.log.trim(OPS, seq(161)),
  ])
  const [tail] = await other.log.tails([OPS])
  assert.deepEqual([tail?.first, tail?.seq], [161, 260])
  assert.deepEqual(
    (await one.log.read(OPS, { limit: 500 })).map(({ seq }) => seq),
    range(161, 260),
  )
  for (const bucket of range(0, 7)) assert.deepEqual(await rowsOf(ring, OPS, bucket), [0, 20], `bucket ${bucket}`)
  for (const n of [1, 120, 160, 161, 260]) assert.equal((await other.log.append(OPS, says(`${n}`, `c-${n}`))).seq, n)
})

test('what finds repeats goes after 30 days and 10,000 entries, and not before', { skip }, async t => {
  const { all, clock, ring } = await ground(t, 2, 2_000)
  const [one, other] = all as [Storage, Storage]
  // Some have one only: each is looked for in all buckets where it may be.
  for (const n of range(0, 6)) await talk(one, 2_000, n * 2_000 + 1, OPS, 200)
  await one.log.trim(OPS, seq(13_000))
  assert.deepEqual(await rowsOf(ring, OPS, 0), [0, 10], 'younger than 30 days')
  clock.time += 31 * DAY_MS
  await Promise.all([one.log.trim(OPS, seq(13_000)), other.log.trim(OPS, seq(13_000))])
  assert.deepEqual(await rowsOf(ring, OPS, 0), [0, 0])
  assert.deepEqual(await rowsOf(ring, OPS, 2), [0, 10], 'less than 10,000 entries ago')
  assert.equal((await other.log.append(OPS, says('4200', 'c-4200'))).repeated, true)
  await assert.rejects(other.log.append(OPS, says('other', 'c-4200')), fault('client-message-id-reused'))
  const again = await other.log.append(OPS, says('200', 'c-200'))
  assert.deepEqual([again.seq, again.repeated], [14_001, false])
})

// ---- what removed rows cost ----

const QUEUE = table<{ at: string }>('queue', { due: row => ({ partition: 'all', sort: row.at }) }, { spread: true })
const LIST = table<{ n: number }>('list')
const GONE = Math.ceil(1_000 * scale('GONE', 1))

/** The middle one of some, in ms. */
async function took(work: () => Promise<unknown>): Promise<number> {
  const all: number[] = []
  for (const _ of range(1, 9)) {
    const began = performance.now()
    await work()
    all.push(performance.now() - began)
  }
  return all.sort((a, b) => a - b)[4] as number
}

test('removed records and removed history do not make reads slow', { skip }, async t => {
  const { all } = await ground(t, 1, 50)
  const [{ log, records }] = all as [Storage]
  const here = conversation('g:long')
  const last = (n: number) => String(n).padStart(8, '0')
  const queue = () => records.scan(QUEUE, 'all', { index: 'due', limit: 100 })
  const list = () => records.scan(LIST, 'p', { limit: 100 })
  const newest = () => log.read(here, { limit: 50, reverse: true })
  const oldest = () => log.read(here, { limit: 50 })
  await records.write(range(1, 100).map(n => put(LIST, 'p', `z${last(n)}`, { n })))
  for (const n of range(1, 100)) await records.write([put(QUEUE, 'p', `z${n}`, { at: `z${last(n)}` })])
  await talk({ log } as Storage, 100, 1, here)
  const [queue0, list0, newest0, oldest0] = [
    await took(queue),
    await took(list),
    await took(newest),
    await took(oldest),
  ]
  // In front of what is left, as wills and sessions that came back are.
  for (let at = 0; at < GONE; at += 100) {
    const keys = range(at + 1, at + 100).map(last)
    await Promise.all(keys.map(key => records.write([put(QUEUE, 'p', key, { at: key })])))
    await Promise.all(keys.map(key => records.write([remove(QUEUE, 'p', key)])))
    await records.write(keys.map(key => put(LIST, 'p', key, { n: 0 })))
    await records.write(keys.map(key => remove(LIST, 'p', key)))
  }
  await talk({ log } as Storage, GONE, 101, here)
  await log.trim(here, seq(GONE))
  const [queue1, list1, newest1, oldest1] = [
    await took(queue),
    await took(list),
    await took(newest),
    await took(oldest),
  ]
  const ms = (before: number, after: number) => `${before.toFixed(1)} → ${after.toFixed(1)}`
  figures(t, {
    removed: GONE,
    ...{ queueMs: ms(queue0, queue1), listMs: ms(list0, list1) },
    ...{ newestMs: ms(newest0, newest1), oldestMs: ms(oldest0, oldest1) },
  })
  for (const [what, before, after] of [
    ['an index', queue0, queue1],
    ['the newest entries', newest0, newest1],
    ['the oldest entries', oldest0, oldest1],
  ] as const)
    assert.ok(after < 4 * before + 60, `${what}: ${ms(before, after)} ms`)
})
