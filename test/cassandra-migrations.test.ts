/** The schema in Cassandra: from every earlier version with its data, by several servers at once, and behind one that died. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { put, remove, table } from '../core/ports.ts'
import { type Migration, migrate, migrations, mustBeCurrent } from '../storage/cassandra/migrations.ts'
import type { Ring } from '../storage/cassandra/ring.ts'
import { CannotOpen } from '../storage/level/meta.ts'
import { OPS, range, recalls, says, seq, TestClock } from './contracts/ground.ts'
import { RECIPE } from './support/cassandra/java.ts'
import { cassandra, keyspaceOf, type Ours, opened, ringOf } from './support/keyspace.ts'

const { hosts, skip } = await cassandra()
const pause = (ms: number) => wait(ms)
const NOTES = table<{ text: string; of: string }>('notes', {
  byOf: row => ({ partition: row.of, sort: row.text }),
})
const LAST = table<{ seq: number }>('last', undefined, { ranked: true })

async function emptyKeyspace(t: TestContext, more: Partial<Ours> = {}): Promise<{ ours: Ours; ring: Ring }> {
  const ours = keyspaceOf(t, hosts, { bucketSize: 10, tables: [NOTES as never, LAST as never], ...more })
  await using plain = await ringOf(ours, 'system')
  const replication = `{'class': 'NetworkTopologyStrategy', 'datacenter1': ${ours.replication}}`
  await plain.command(`CREATE KEYSPACE ${ours.keyspace} WITH replication = ${replication}`)
  const ring = await ringOf(ours, ours.keyspace)
  t.after(() => ring[Symbol.asyncDispose]())
  return { ours, ring }
}
/** Later than what was written before. */
function laterOpened(t: TestContext, ours: Ours) {
  const clock = new TestClock()
  clock.time += 1_000_000
  return opened(t, ours, clock)
}
async function columnsOf(ring: Ring, { keyspace }: Ours): Promise<string[]> {
  const query = 'SELECT table_name, column_name, type FROM system_schema.columns WHERE keyspace_name = ?'
  const rows = await ring.read(query, [keyspace])
  return rows.map(({ table_name, column_name, type }) => `${table_name}.${column_name} ${type}`).sort()
}

// ---- from earlier versions ----

type Rows = Record<string, Record<string, unknown>[]>

/** What a server of that version had written beside one of those before, row by row; what has a time of its own is given one before all others. */
async function fill(ring: Ring, version: number): Promise<void> {
  const text = readFileSync(join(RECIPE, `data-${String(version).padStart(3, '0')}.json`), 'utf8')
  const timed = ['heads', 'record_index']
  for (const [name, rows] of Object.entries(JSON.parse(text) as Rows))
    await ring.each(rows, row => {
      const at = timed.includes(name) ? 1 : row.tbl === LAST.name ? Number(row.version) : undefined
      const using = at === undefined ? '' : ` USING TIMESTAMP ${at}`
      return ring.write([[`INSERT INTO ${name} JSON ? DEFAULT UNSET${using}`, [JSON.stringify(row)]]])
    })
}

const all = await migrations()
/** The last one is what every other test begins with. */
const earlier = all.slice(0, -1).map(({ number }) => number)

for (const version of earlier)
  test(`a keyspace of version ${version} opens with its data, and goes on`, { skip }, async t => {
    const { ours, ring } = await emptyKeyspace(t)
    await migrate(
      ring,
      all.filter(({ number }) => number <= version),
      pause,
    )
    for (const from of range(1, version)) await fill(ring, from)
    const { log, records } = await laterOpened(t, ours)
    assert.deepEqual(await log.tails([OPS]), [{ seq: 36, n: 34, sentAt: 1_790_000_034_000, first: 11 }])
    const entries = await log.read(OPS, { limit: 100 })
    assert.deepEqual(
      entries.map(({ entry }) => entry.retracted ?? entry.text ?? entry.target),
      [...range(11, 34).map(n => ([17, 33].includes(n) ? 'recall' : `${n}`)), 33, 17],
    )
    for (const [n, retracted] of [
      [1, 'retention'],
      [17, 'recall'],
      [21, undefined],
    ] as const) {
      const repeat = await log.append(OPS, says(`${n}`, `c-${n}`))
      assert.deepEqual([repeat.seq, repeat.repeated, repeat.entry.retracted], [n, true, retracted])
    }
    const [head] = await ring.read('SELECT forgotten FROM heads WHERE conversation = ?', [OPS])
    assert.equal(Number(head?.forgotten ?? 0), version > 1 ? 3 : 0)
    assert.equal((await records.get(NOTES, 'p', 'counted'))?.version, 6)
    assert.deepEqual((await records.get(LAST, 'p', 'k'))?.row, { seq: 30 })
    const two = () => records.scan(NOTES, 'two', { index: 'byOf', limit: 10 })
    assert.equal((await two()).length, 3)

    assert.equal((await log.append(OPS, says('more', 'c-more'))).seq, 37)
    await log.append(OPS, recalls(22), { retracts: seq(22) })
    await log.trim(OPS, seq(31))
    const [row] = await ring.read(
      'SELECT count(*) AS rows FROM log WHERE conversation = ? AND bucket = 1 AND seq > 0',
      [OPS],
    )
    assert.equal(Number(row?.rows), 0)
    await records.write([remove(NOTES, 'p', 'a', 2), put(NOTES, 'p', 'gone', { text: 'c', of: 'two' })])
    assert.equal((await two()).length, 3)
  })

// ---- several at once, and one that died ----

test('servers that start at once change the schema once, and all of them go on', { skip }, async t => {
  const ours = keyspaceOf(t, hosts)
  const storages = await Promise.all(range(1, 4).map(() => laterOpened(t, ours)))
  const sent = await Promise.all(storages.map(({ log }, nth) => log.append(OPS, says(`${nth}`))))
  assert.deepEqual(sent.map(({ seq }) => seq).sort(), range(1, 4))
  const ring = await ringOf(ours, ours.keyspace)
  t.after(() => ring[Symbol.asyncDispose]())
  const rows = await ring.read('SELECT number FROM migrations', [])
  assert.deepEqual(
    rows.map(({ number }) => Number(number)).sort(),
    all.map(({ number }) => number),
  )
  assert.deepEqual(await ring.read('SELECT * FROM migration_lock', []), [])
})

test('behind a server that was killed half way, the next one finishes', { skip }, async t => {
  const { ours, ring } = await emptyKeyspace(t)
  const whole = await emptyKeyspace(t)
  await migrate(whole.ring, all, pause)
  const script = fileURLToPath(new URL('./support/cassandra/migrator.js', import.meta.url))
  // Killed while it makes one of its own tables, one of the first migration, and at a column of a later one.
  for (const last of [/migration_lock/, /TABLE.* records /, /ADD.* freed/]) {
    const child = spawn(process.execPath, [script, hosts[0] as string, ours.keyspace, '2'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.after(() => void child.kill('SIGKILL'))
    const gone = once(child, 'exit')
    let isKilled = false
    for await (const statement of createInterface(child.stdout))
      if (!isKilled && last.test(statement)) {
        child.kill('SIGKILL')
        isKilled = true
      }
    await gone
    assert.ok(isKilled, `it came to ${last}`)
  }
  await migrate(ring, all, pause, 2)
  assert.deepEqual(await columnsOf(ring, ours), await columnsOf(ring, whole.ours))
  assert.equal((await (await laterOpened(t, ours)).log.append(OPS, says('hi'))).seq, 1)
})

test('a keyspace of a later version, or with a migration that was changed, is refused', { skip }, async t => {
  const { ours, ring } = await emptyKeyspace(t)
  const one: Migration = { number: 1, name: '001-one.cql', text: 'CREATE TABLE one (id int PRIMARY KEY);\n' }
  const two: Migration = { number: 2, name: '002-two.cql', text: '-- A column.\nALTER TABLE one ADD more text;\n' }
  await migrate(ring, [one, two], pause)
  await migrate(ring, [one, two], pause)
  const refused = (wanted: readonly Migration[], says: RegExp) =>
    assert.rejects(migrate(ring, wanted, pause), (thrown: Error) => {
      assert.ok(thrown instanceof CannotOpen)
      assert.match(thrown.message, says)
      return true
    })
  await refused([one], /written by a newer version of this program: it has 002-two\.cql/)
  const three: Migration = { number: 3, name: '003-three.cql', text: 'ALTER TABLE one ADD last text;\n' }
  await assert.rejects(mustBeCurrent(ring, ours.keyspace, [one, two, three]), /it lacks 003-three\.cql/)
  await mustBeCurrent(ring, ours.keyspace, [one, two])
  assert.ok(!(await columnsOf(ring, ours)).includes('one.last text'), 'it changes nothing')
  await refused([one, { ...two, text: 'ALTER TABLE one ADD less text;' }], /002-two\.cql was applied .* other contents/)
})
