/** Clocks of servers that differ, go back and go ahead: order and time of a conversation stay, and no write is lost by it. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { put, putRanked, remove, type Storage, table } from '../core/ports.ts'
import { OPS, range, says, TestClock } from './contracts/ground.ts'
import { cassandra, keyspaceOf, opened } from './support/keyspace.ts'
import { Chance, seedOfRun } from './support/proof.ts'

const { hosts, skip } = await cassandra()
const MINUTES_MS = 60_000
const NOTES = table<{ text: string; of: string }>('notes', { byOf: row => ({ partition: row.of, sort: '' }) })
const RANKED = table<{ of: string }>('ranked', { byOf: row => ({ partition: row.of, sort: '' }) }, { ranked: true })

async function nodes(t: TestContext, offsets: readonly number[]) {
  const ours = keyspaceOf(t, hosts, { bucketSize: 10 })
  const all: (Storage & { clock: TestClock })[] = []
  for (const offset of offsets) {
    const clock = new TestClock()
    clock.time += offset
    all.push({ ...(await opened(t, ours, clock)), clock })
  }
  return all
}

test('with clocks five minutes apart, time and ids of a conversation go only forward', { skip }, async t => {
  const all = await nodes(t, [0, 5 * MINUTES_MS, -3 * MINUTES_MS])
  const chance = new Chance(seedOfRun())
  for (const n of range(1, 40)) {
    const { log, clock } = chance.of(all)
    // Back as well, as one that is set right.
    clock.time += chance.below(3_000) - 1_000
    const before = clock.now()
    const { seq, sentAt } = await log.append(OPS, says(`${n}`))
    assert.equal(seq, n)
    assert.ok(sentAt >= before)
  }
  const read = await all[0]?.log.read(OPS, { limit: 100 })
  const times = read?.map(({ sentAt }) => sentAt) ?? []
  const ids = read?.map(({ entry }) => entry.id) ?? []
  assert.deepEqual(times, times.toSorted())
  assert.deepEqual(
    ids.map(id => id.slice(0, 10)),
    ids.map(id => id.slice(0, 10)).toSorted(),
  )
  assert.equal(new Set(ids).size, 40)
})

/** What the driver, and whatever else asks the machine, believes the time to be. */
function machineAt(t: TestContext, offsetMs: number): void {
  const now = Date.now.bind(Date)
  t.mock.method(Date, 'now', () => now() + offsetMs)
}

test('what a server with a clock ahead has written, one with a clock behind writes over', { skip }, async t => {
  const [ahead, behind] = (await nodes(t, [60 * MINUTES_MS, -60 * MINUTES_MS])) as unknown as [Storage, Storage]
  const found = async (of: string) => (await ahead.records.scan(NOTES, of, { index: 'byOf', limit: 10 })).length
  const write = async ({ log, records }: Storage, text: string, rank: number) => {
    await records.write([put(NOTES, 'p', 'k', { text, of: text })])
    await records.write([put(NOTES, 'p', 'k', { text, of: text }), put(NOTES, 'q', 'k', { text, of: '' })])
    await records.write([putRanked(RANKED, 'p', 'k', { of: text }, rank)])
    await log.append(OPS, says(text), { changes: () => [put(NOTES, 'p', 'of entry', { text, of: '' })] })
  }
  machineAt(t, 60 * MINUTES_MS)
  await write(ahead, 'one', 1)
  t.mock.restoreAll()
  machineAt(t, -60 * MINUTES_MS)
  await write(behind, 'two', 2)
  for (const { records } of [ahead, behind]) {
    for (const [partition, key, version] of [
      ['p', 'k', 4],
      ['q', 'k', 2],
      ['p', 'of entry', 2],
    ] as const) {
      const row = await records.get(NOTES, partition, key)
      assert.deepEqual([row?.row.text, row?.version], ['two', version], `${partition} ${key}`)
    }
    assert.equal((await records.get(RANKED, 'p', 'k'))?.row.of, 'two')
    assert.equal((await records.scan(RANKED, 'two', { index: 'byOf', limit: 10 })).length, 1)
    assert.equal((await records.scan(RANKED, 'one', { index: 'byOf', limit: 10 })).length, 0)
  }
  assert.deepEqual([await found('one'), await found('two')], [0, 1])

  // Removed by the one behind, and there again by it.
  await behind.records.write([remove(NOTES, 'p', 'k')])
  assert.deepEqual([await ahead.records.get(NOTES, 'p', 'k'), await found('two')], [undefined, 0])
  await behind.records.write([put(NOTES, 'p', 'k', { text: 'two', of: 'two' })])
  assert.deepEqual([(await ahead.records.get(NOTES, 'p', 'k'))?.version, await found('two')], [1, 1])

  // A row that is a write ahead removed, and retention, end nothing that comes later either.
  machineAt(t, 60 * MINUTES_MS)
  await ahead.log.append(OPS, says('three'))
  t.mock.restoreAll()
  await behind.log.append(OPS, says('four'))
  assert.deepEqual(
    (await ahead.log.read(OPS, { limit: 10 })).map(({ entry }) => entry.text),
    ['one', 'two', 'three', 'four'],
  )
})
