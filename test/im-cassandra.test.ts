/** `im` on a cluster: everything moves from a directory into Cassandra and back, and operators are helped there. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { put, putRanked, type Table, table } from '../core/ports.ts'
import { lineOf } from '../server/archive/lines.ts'
import type { Totals } from '../server/archive/tally.ts'
import type { Check } from '../server/commands/checks.ts'
import { tellDisk } from '../server/commands/cluster-checks.ts'
import { examine } from '../server/commands/doctor.ts'
import type { Item } from '../storage/archive.ts'
import { openRestoration, withArchive } from '../storage/cassandra/tools.ts'
import { openStorage } from '../storage/open.ts'
import { allOf } from './contracts/archive.ts'
import { conversation, fault, OPS, range, recalls, says, seq, TestClock } from './contracts/ground.ts'
import { begin } from './support/im.ts'
import { digests, inKeyspace, NOWHERE, needs, on, place, settingsOf, typed } from './support/im-cluster.ts'
import { cassandra, keyspaceOf, type Ours, ringOf } from './support/keyspace.ts'
import { lived } from './support/lived.ts'
import { entryOf, rest } from './support/person.ts'
import { RedisServer } from './support/redis.ts'
import { TestServer } from './support/server.ts'

const { hosts, skip } = await cassandra()

// ---- items ----

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

// ---- commands ----

test('a server alone moves into a cluster and back, with the same counts and digests, and people go on where they were', {
  skip,
  timeout: 300_000,
}, async t => {
  const alone = await TestServer.start(t)
  const { alice, bob } = await lived(alone, 25)
  const history = await alice.history('g:ops')
  await alone.stop()
  const files = await place(t)
  const [first, second, third] = [join(files, '1'), join(files, '2'), join(files, '3')]
  const exported = await begin(alone.dir, ['export', first, '--json']).ended
  assert.equal(exported.code, 0, exported.errors)

  const redis = await RedisServer.start(t)
  const ours = keyspaceOf(t, hosts, { bucketSize: 10 })
  const settings = settingsOf(ours, redis.url)
  const absent = await on(settings, 'export', second)
  assert.deepEqual([absent.code, /^There is no keyspace/.test(absent.errors)], [1, true], absent.errors)
  const imported = await on(settings, 'import', first, '--json')
  assert.equal(imported.code, 0, imported.out + imported.errors)
  const there = await on(settings, 'export', second, '--json')
  assert.equal(there.code, 0, there.errors)
  assert.deepEqual(digests(JSON.parse(there.out)), digests(JSON.parse(exported.out)))
  assert.equal((await on(settings, 'import', first, '--verify')).code, 0)

  const cluster = TestServer.idle(t, settings)
  await cluster.start()
  for (const person of [alice, bob]) Object.assign(person, { server: cluster })
  assert.deepEqual(await alice.history('g:ops'), history)
  const again = await alice.api('POST', '/conversations/g:ops/messages', { text: '2 八点见', clientMessageId: 'c2' })
  assert.deepEqual([again.status, (again.body as { seq: number }).seq], [200, 3])
  assert.equal((await alice.api('POST', '/conversations/g:ops/messages', { text: 'moved' })).status, 201)
  assert.equal((await rest(cluster, 'POST', '/v1/token', { refreshToken: alice.refreshToken })).status, 200)
  const phone = await bob.connect(5)
  const seen: number[] = []
  while (seen.length < 27) {
    const publish = await phone.next('publish')
    const entry = entryOf(publish)
    if (entry.conversation === 'g:ops') seen.push(entry.seq)
    phone.ack('puback', publish.id ?? 0)
  }
  assert.deepEqual(seen, range(2, 28), 'what waited for the phone comes once and in order')
  await phone.disconnect()
  assert.match((await on(settings, 'import', first)).errors, /is there already, with data/)
  await cluster.stop()

  const left = await on(settings, 'export', third, '--json')
  assert.equal(left.code, 0, left.errors)
  const back = TestServer.idle(t)
  const returned = await begin(back.dir, ['import', third, '--json']).ended
  assert.equal(returned.code, 0, returned.out + returned.errors)
  const { found } = JSON.parse(returned.out) as { found: Totals }
  assert.deepEqual(digests(found), digests(JSON.parse(left.out)))
  await back.start()
  Object.assign(alice, { server: back })
  const after = await alice.history('g:ops')
  assert.deepEqual([after.length, after.at(-1)?.text], [history.length + 1, 'moved'])
  assert.ok((await readFile(third, 'utf8')).includes('"moved"'))
})

test('accounts are helped in the keyspace, whether or not a server runs', { skip, timeout: 120_000 }, async t => {
  const redis = await RedisServer.start(t)
  const settings = settingsOf(keyspaceOf(t, hosts), redis.url)
  assert.match((await on(settings, 'user', 'list')).errors, /^There is no keyspace/)
  const server = await TestServer.start(t, settings)
  assert.equal((await typed(settings, 'battery staple\n', 'user', 'create', 'bob')).code, 0)
  const logIn = (password: string) => rest(server, 'POST', '/v1/login', { user: 'bob', password, app: 'im' })
  assert.equal((await logIn('battery staple')).status, 200)
  assert.equal((await typed(settings, 'correct horse', 'user', 'set-password', 'bob')).code, 0)
  assert.deepEqual([(await logIn('battery staple')).status, (await logIn('correct horse')).status], [401, 200])
  const { alice } = await server.people('alice')
  const phone = await alice.connect(5)
  const out = await on(settings, 'user', 'log-out', 'alice', '--keys')
  assert.deepEqual([out.out, out.errors], ['alice of im: 1 log-ins are ended, 1 keys are deleted.\n', ''])
  assert.equal((await phone.next('disconnect')).code, 0x87)
  const untold = await on({ ...settings, IM_REDIS_URL: NOWHERE }, 'user', 'log-out', 'bob')
  assert.deepEqual([untold.code, /^It is done, but servers could not be told/.test(untold.errors)], [1, true])
  assert.equal((await typed(settings, 'owner of another', 'app', 'create', 'shop')).code, 0)
  assert.deepEqual(
    (await on(settings, 'app', 'list')).out.split('\n').map(line => line.split(' ')[0]),
    ['im', 'shop', ''],
  )
})

test('a doctor of a cluster says what is there, what is wrong, and what to do, without secrets', {
  skip,
  timeout: 180_000,
}, async t => {
  const redis = await RedisServer.start(t, '--requirepass', 'geheim')
  const ours = keyspaceOf(t, hosts)
  const url = `redis://:geheim@127.0.0.1:${redis.port}`
  const look = async (more: Record<string, string> = {}) => {
    const settings = { ...settingsOf(ours, url), IM_HTTP_PORT: '0', IM_MQTT_PORT: '0', ...more }
    const { ok, checks } = await examine(settings)
    const says = (level: Check['level']) =>
      checks.flatMap(({ check, level: is, says, todo = '' }) => (is === level ? [`${check}: ${says} → ${todo}`] : []))
    assert.ok(!JSON.stringify(checks).includes('geheim'))
    return {
      ok,
      fine: says('ok').join('\n'),
      warnings: says('warning').join('\n'),
      problems: says('problem').join('\n'),
    }
  }
  const before = await look()
  assert.deepEqual([before.ok, before.problems], [true, ''])
  assert.match(before.fine, /cassandra: 1 of 1 node of datacenter1 answer, version \d/)
  assert.match(before.fine, /the keyspace \w+ is not there yet: the first start makes it, with 1 copy/)
  assert.match(before.fine, /clock: Cassandra's clock and this one differ by \d+ ms/)
  assert.match(before.fine, /redis: redis:\/\/127\.0\.0\.1:\d+\/0 is version \d/)
  assert.match((await look({ IM_CASSANDRA_REPLICATION: '3' })).problems, /3 copies have no room on 1 node/)

  await (await inKeyspace(ours))[Symbol.asyncDispose]()
  const after = await look()
  assert.deepEqual([after.ok, after.problems], [true, ''])
  assert.match(after.warnings, /1 copy in datacenter1: .* → With 3 nodes or more: ALTER KEYSPACE .*'datacenter1': 3\}/)
  assert.match(after.fine, /the schema of \w+ is this version's \(\d+\), and a majority decides in \d+ ms/)
  assert.match(after.fine, /buckets of 50, with local-quorum in datacenter1/)
  assert.match((await look({ IM_CASSANDRA_BUCKET: '60' })).problems, /set IM_CASSANDRA_BUCKET=50 → Set it/)
  await using ring = await ringOf(ours, ours.keyspace)
  await ring.write([['INSERT INTO migrations (number, name, sha256) VALUES (?, ?, ?)', [900, '900-later.cql', '']]])
  assert.match((await look()).problems, /written by a newer version of this program: it has 900-later\.cql/)
  await ring.command('DELETE FROM migrations WHERE number = 900')
  const half = keyspaceOf(t, hosts)
  await (await openRestoration(needs(half)))[Symbol.asyncDispose]()
  const unfinished = await look({ IM_CASSANDRA_KEYSPACE: half.keyspace })
  assert.match(
    unfinished.problems,
    /filled into \w+ is not whole yet → Run `im import`, or `im restore`, again, or drop the keyspace/,
  )

  const away = await look({ IM_REDIS_URL: 'redis://127.0.0.1:1', IM_CASSANDRA_HOSTS: '127.0.0.1:1' })
  assert.equal(away.ok, false)
  assert.match(
    away.problems,
    /cassandra: Cassandra cannot be used at 127\.0\.0\.1:1: .*ECONNREFUSED.* → Start Cassandra there/,
  )
  assert.match(away.problems, /redis: redis:\/\/127\.0\.0\.1:1\/0 does not answer as it should: .*ECONNREFUSED/)
  assert.match((await look({ IM_REDIS_URL: `redis://:wrong@127.0.0.1:${redis.port}` })).problems, /redis: .*WRONGPASS/)
  const silent = createServer(() => {}).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.after(() => silent.close())
  const { port } = silent.address() as AddressInfo
  const from = performance.now()
  const ended = await on({ ...settingsOf(ours, url), IM_CASSANDRA_HOSTS: `127.0.0.1:${port}` }, 'doctor')
  assert.match(ended.out, /did not reply before timeout/)
  assert.deepEqual([ended.code, ended.errors], [1, ''])
  assert.ok(performance.now() - from < 28_000, 'the command ends with its answer')
  const replica = await RedisServer.start(t, '--replicaof', '127.0.0.1', '1')
  assert.match(
    (await look({ IM_REDIS_URL: replica.url })).problems,
    /is a replica, which takes no writes → Name the master/,
  )
})

test('one copy on a disk that is written to late is warned of', () => {
  const told = (copies: number, sync?: string) => {
    const levels: string[] = []
    tellDisk(copies, sync, level => levels.push(level))
    return levels
  }
  assert.deepEqual([told(1, 'periodic'), told(3, 'periodic'), told(1, 'batch'), told(1)], [['warning'], [], [], []])
})
