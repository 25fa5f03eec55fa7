/** `im` on a cluster: everything moves from a directory into Cassandra and back, and operators are helped there. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Totals } from '../server/archive/tally.ts'
import type { Check } from '../server/commands/checks.ts'
import { tellDisk } from '../server/commands/cluster-checks.ts'
import { examine } from '../server/commands/doctor.ts'
import { openRestoration } from '../storage/cassandra/tools.ts'
import { range } from './contracts/ground.ts'
import { begin } from './support/im.ts'
import { digests, inKeyspace, NOWHERE, needs, on, place, settingsOf, typed } from './support/im-cluster.ts'
import { cassandra, keyspaceOf, ringOf } from './support/keyspace.ts'
import { lived } from './support/lived.ts'
import { entryOf, rest } from './support/person.ts'
import { RedisServer } from './support/redis.ts'
import { TestServer } from './support/server.ts'

const { hosts, skip } = await cassandra()

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
