/** What an import fills a keyspace of Cassandra with, item by item, and an export reads from it. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { put, putRanked, type Table, table } from '../core/ports.ts'
import { lineOf } from '../server/archive/lines.ts'
import type { Item } from '../storage/archive.ts'
import { openRestoration, withArchive } from '../storage/cassandra/tools.ts'
import { openStorage } from '../storage/open.ts'
import { allOf } from './contracts/archive.ts'
import { conversation, fault, OPS, range, recalls, says, seq, TestClock } from './contracts/ground.ts'
import { inKeyspace, needs, place } from './support/im-cluster.ts'
import { cassandra, keyspaceOf, type Ours } from './support/keyspace.ts'

const { hosts, skip } = await cassandra()

interface Note {
  text: string
  topic?: string
}
const NOTES = table<Note>(
  'notes',
  { byTopic: row => (row.topic === undefined ? undefined : { partition: row.topic, sort: row.text }) },
  { spread: true },
)
const PLAIN = table<Note>('plain')
const SEEN = table<{ at: number }>('seen', undefined, { ranked: true })
const TABLES = [NOTES] as readonly Table<never>[]
const [LONG, TRIMMED, SHORT] = [conversation('g:long'), conversation('g:trimmed'), conversation('u:alice:bob')]
const lines = (items: readonly Item[]) => items.map(lineOf).sort()
const linesOf = async (archive: Parameters<typeof allOf>[0]) => lines(await allOf(archive))

/** Logs of many buckets of ten, with tombstones, trimmed in the middle of a bucket, and records of each kind. */
async function filled(directory: string): Promise<void> {
  await using storage = await openStorage({
    ...{ engine: 'level', directory, fsync: false, lowWaterBytes: 0 },
    clock: new TestClock(),
  })
  const { log, records } = storage
  for (const n of range(1, 43)) await log.append(LONG, says(`${n} 八点见 ,"entry":{}`, `c,"${n}`))
  await log.append(LONG, recalls(2), { retracts: seq(2) })
  await log.append(LONG, recalls(42, 'burn'), { retracts: seq(42) })
  for (const n of range(1, 36)) await log.append(TRIMMED, says(`${n}`, n % 2 ? `c${n}` : undefined))
  await log.trim(TRIMMED, seq(25))
  await log.append(SHORT, says('without an id'))
  await records.write([
    put(NOTES, 'p', 'k', { text: 'one ,"row":{}', topic: 'x' }),
    put(NOTES, 'p', 'l', { text: 'two', topic: 'x' }),
    ...range(1, 20).map(n => put(PLAIN, 'q', `${n}`, { text: `${n}` })),
    putRanked(SEEN, 'alice', 'phone', { at: 7 }, 7_000),
  ])
  await records.write([put(PLAIN, 'q', '1', { text: 'again' })])
}

const itemsIn = (ours: Ours): Promise<string[]> => withArchive(needs(ours), linesOf)

async function inDirectory(directory: string): Promise<Item[]> {
  const { withArchive } = await import('../storage/open.ts')
  return withArchive(directory, allOf)
}

/** What a directory holds, and a keyspace that holds nothing. */
async function ground(t: TestContext) {
  const directory = await place(t)
  await filled(directory)
  return {
    directory,
    items: await inDirectory(directory),
    ours: keyspaceOf(t, hosts, { bucketSize: 10, tables: TABLES }),
  }
}

test('items of a directory fill a keyspace in any order, which then says the same and goes on alike', {
  skip,
  timeout: 120_000,
}, async t => {
  const { directory, items, ours } = await ground(t)
  {
    await using restoration = await openRestoration(needs(ours))
    await restoration.put(items.toReversed(), 'first')
    await restoration.put(items.slice(0, 30), 'second')
    assert.deepEqual(await linesOf(restoration), lines(items))
    await restoration.finish()
  }
  assert.deepEqual(await itemsIn(ours), lines(items))

  await using storage = await inKeyspace(ours)
  const { log, records } = storage
  await using old = await openStorage({
    ...{ engine: 'level', directory, fsync: false, lowWaterBytes: 0 },
    clock: new TestClock(),
  })
  const keys = [LONG, TRIMMED, SHORT, OPS]
  assert.deepEqual(await log.tails(keys), await old.log.tails(keys))
  for (const key of keys) {
    const [there, here] = await Promise.all([old.log.read(key, { limit: 100 }), log.read(key, { limit: 100 })])
    assert.deepEqual(here.map(text), there.map(text))
  }
  for (const n of [3, 33]) {
    const again = await log.append(LONG, says(`${n} 八点见 ,"entry":{}`, `c,"${n}`))
    assert.deepEqual([again.seq, again.repeated], [n, true])
  }
  assert.equal((await log.append(TRIMMED, says('23', 'c23'))).entry.retracted, 'retention')
  await assert.rejects(log.append(LONG, says('other', 'c,"41')), fault('client-message-id-reused'))
  for (const n of [2, 42])
    await assert.rejects(log.append(LONG, recalls(n), { retracts: seq(n) }), fault('already-recalled'))
  assert.equal((await log.append(LONG, recalls(3), { retracts: seq(3) })).seq, 46)
  for (const n of range(47, 61)) assert.equal((await log.append(LONG, says(`${n}`))).seq, n)
  assert.equal((await log.append(TRIMMED, says('37', 'c37'))).seq, 37)

  const found = await records.scan(NOTES, 'x', { index: 'byTopic', limit: 10 })
  assert.deepEqual(
    found.map(({ key, version }) => [key, version]),
    [
      ['k', 1],
      ['l', 1],
    ],
  )
  await records.write([put(NOTES, 'p', 'k', { text: 'one', topic: 'y' }, 1), put(PLAIN, 'q', '1', { text: '3' }, 2)])
  await records.write([putRanked(SEEN, 'alice', 'phone', { at: 6 }, 6_000)])
  assert.deepEqual((await records.get(SEEN, 'alice', 'phone'))?.row, { at: 7 })
  await records.write([putRanked(SEEN, 'alice', 'phone', { at: 8 }, 8_000)])
  assert.equal((await records.scan(NOTES, 'x', { index: 'byTopic', limit: 10 })).length, 1)
  assert.deepEqual((await records.get(SEEN, 'alice', 'phone'))?.row, { at: 8 })
})
const text = ({ bytes }: { bytes: Uint8Array }) => Buffer.from(bytes).toString()

test('what an import began is gone on with, by one at a time, and no server opens it before the end', {
  skip,
  timeout: 120_000,
}, async t => {
  const { items, ours } = await ground(t)
  await using first = await openRestoration(needs(ours))
  assert.equal(await first.noted(), undefined)
  await first.put(items.slice(0, 40), 'forty')
  await assert.rejects(inKeyspace(ours), /not finished: run it again, or drop the keyspace/)
  await assert.rejects(itemsIn(ours), /not finished/)
  await using second = await openRestoration(needs(ours))
  assert.equal(await second.noted(), 'forty')
  await assert.rejects(first.put(items.slice(40), 'all'), /Another import is filling/)
  await second.put(items.slice(40), 'all')
  await second.finish()
  await using _ = await inKeyspace(ours)
  await assert.rejects(openRestoration(needs(ours)), /is there already, with data/)
})
