/** What a server must agree on with its keyspace before it starts, and when it says that it is ready. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { put, putRanked, remove, removeRanked, table } from '../core/ports.ts'
import { agree } from '../storage/cassandra/meta.ts'
import { CannotOpen } from '../storage/level/meta.ts'
import { openStorage } from '../storage/open.ts'
import { OPS, says, TestClock } from './contracts/ground.ts'
import { cassandra, keyspaceOf, type Ours, openCassandra, opened, ringOf } from './support/keyspace.ts'
import { rest } from './support/person.ts'
import { TestServer } from './support/server.ts'

const { hosts, skip } = await cassandra()

const refused = (ours: Ours, says: RegExp) =>
  assert.rejects(openCassandra({ ...ours, clock: new TestClock(), observer: {} }), (thrown: Error) => {
    assert.ok(thrown instanceof CannotOpen, thrown.stack)
    assert.match(thrown.message, says)
    return true
  })

test('a server with other settings than the data has is told which to set', { skip }, async t => {
  const ours = keyspaceOf(t, hosts)
  await (await opened(t, ours)).log.append(OPS, says('kept'))
  await refused({ ...ours, bucketSize: 60 }, /has 50 entries in a bucket for ever.*set IM_CASSANDRA_BUCKET=50\./)
  await refused(
    { ...ours, consistency: 'quorum' },
    /set IM_CASSANDRA_CONSISTENCY=local-quorum\. To change it, stop every/,
  )
  // Another datacenter cannot be opened here, but what it would be told can be asked for.
  await using ring = await ringOf(ours, ours.keyspace)
  await assert.rejects(agree(ring, { ...ours, datacenter: 'elsewhere' }), /set IM_CASSANDRA_DATACENTER=datacenter1\./)
  await agree(ring, { ...ours, replication: 5 } as Ours)
  const again = await opened(t, ours)
  assert.equal((await again.log.append(OPS, says('more'))).seq, 2)
})

test('of servers that start at once with different settings, those that lose are refused', { skip }, async t => {
  const ours = keyspaceOf(t, hosts)
  const sizes = [20, 30, 40, 50]
  const outcomes = await Promise.allSettled(sizes.map(bucketSize => opened(t, { ...ours, bucketSize })))
  const won = outcomes.filter(({ status }) => status === 'fulfilled')
  assert.equal(won.length, 1, JSON.stringify(outcomes.map(({ status }) => status)))
  for (const outcome of outcomes)
    if (outcome.status === 'rejected') assert.match(String(outcome.reason), /set IM_CASSANDRA_BUCKET=/)
})

test('what cannot be used says why in one sentence', { skip }, async t => {
  const ours = keyspaceOf(t, hosts)
  await refused({ ...ours, hosts: ['127.0.0.1:1'] }, /^Cassandra cannot be used at 127\.0\.0\.1:1: .*ECONNREFUSED/)
  await refused({ ...ours, user: 'im', passwordFile: '/nowhere' }, /password of Cassandra cannot be read: ENOENT/)
  await refused({ ...ours, caFile: '/nowhere' }, /certificate of Cassandra cannot be read: ENOENT/)
  // A majority of more replicas than there are nodes.
  await refused(keyspaceOf(t, hosts, { replication: 2 * hosts.length + 1 }), /Not enough replicas/)
  // A table of another program's in the way of ours.
  await using ring = await ringOf(ours, 'system')
  const place = "{'class': 'NetworkTopologyStrategy', 'datacenter1': 1}"
  await ring.command(`CREATE KEYSPACE ${ours.keyspace} WITH replication = ${place}`)
  await ring.command(`CREATE TABLE ${ours.keyspace}.heads (conversation text PRIMARY KEY, count counter)`)
  await refused(ours, /^Cassandra cannot be used at .*counter/)
})

test('a password is the file without its last line break', { skip }, async t => {
  const passwordFile = join(tmpdir(), `im-password-${process.pid}`)
  writeFileSync(passwordFile, 'secret\n')
  // This Cassandra asks for none, and takes any.
  const ours = keyspaceOf(t, hosts)
  const storage = await openStorage({ engine: 'cassandra', ...ours, user: 'im', passwordFile, clock: new TestClock() })
  t.after(() => storage[Symbol.asyncDispose]())
  assert.equal((await storage.log.append(OPS, says('hi'))).seq, 1)
})

test('it is ready while a majority decides, and is not when it is closed', { skip }, async t => {
  const ours = keyspaceOf(t, hosts)
  const storage = await openCassandra({ ...ours, clock: new TestClock(), observer: {} })
  await storage.ready()
  await storage[Symbol.asyncDispose]()
  // Asked anew, as no answer was asked for yet.
  const other = await openCassandra({ ...ours, clock: new TestClock(), observer: {} })
  await other[Symbol.asyncDispose]()
  await assert.rejects(other.ready(), { code: 'log-unavailable' })
})

/** Redis is away: what is stored does not need it. */
const settingsOf = ({ hosts, keyspace, replication }: Ours) => ({
  IM_STORAGE: 'cassandra',
  IM_CASSANDRA_HOSTS: hosts.join(','),
  IM_CASSANDRA_KEYSPACE: keyspace,
  IM_CASSANDRA_REPLICATION: String(replication),
  IM_REDIS_URL: 'redis://127.0.0.1:1',
})

test('a server stores in the Cassandra that its settings name, and has it after kill -9', { skip }, async t => {
  const ours = keyspaceOf(t, hosts)
  const server = await TestServer.start(t, settingsOf(ours))
  const { alice } = await server.people('alice', 'bob')
  const sent = await alice.api('POST', '/conversations/u:alice:bob/messages', { type: 'text', text: 'kept' })
  assert.equal(sent.status, 201, JSON.stringify(sent.body))
  await server.kill()
  await server.start()
  assert.equal((await rest(server, 'GET', '/readyz')).status, 200)
  assert.deepEqual(
    (await alice.history('u:alice:bob')).map(({ text }) => text),
    ['kept'],
  )
})

test('a server that cannot use it says why, and ends', { skip }, async t => {
  const ours = keyspaceOf(t, hosts)
  const server = TestServer.idle(t, { ...settingsOf(ours), IM_CASSANDRA_DATACENTER: 'nowhere' })
  await assert.rejects(server.start(), /ended with 1: .*Cassandra cannot be used at .*datacenter1/s)
})

test('a server that ends leaves nothing undone behind its writes', { skip }, async t => {
  const ours = keyspaceOf(t, hosts)
  const PLACED = table<{ at: string }>(
    'placed',
    { byPlace: ({ at }) => ({ partition: at, sort: '' }) },
    { spread: true },
  )
  const BESIDE = table<{ at: string }>('beside', undefined, { ranked: true })
  const storage = await openCassandra({ ...ours, clock: new TestClock(), observer: {} })
  for (const nth of [1, 2, 3, 4])
    await Promise.all(
      ['a', 'b', 'c'].map(key => {
        const row = { at: `${key}${nth}` }
        return storage.records.write([put(PLACED, 'p', key, row), putRanked(BESIDE, key, 'k', row, nth)])
      }),
    )
  await storage.records.write([remove(PLACED, 'p', 'c', 4), removeRanked(BESIDE, 'c', 'k', 5)])
  await storage[Symbol.asyncDispose]()

  await using ring = await ringOf(ours, ours.keyspace)
  const places = await ring.read('SELECT partition FROM record_index', [])
  assert.deepEqual(places.map(({ partition }) => partition).sort(), ['a4', 'b4'])
  const rows = await ring.read('SELECT tbl, key, stamp, applied, ttl(applied) AS life FROM records', [])
  const bearers = rows.filter(({ tbl }) => tbl === 'placed')
  assert.deepEqual(
    bearers.map(({ applied }) => Number(applied)),
    bearers.map(({ stamp }) => Number(stamp)),
  )
  // Of what was removed nothing stays for good.
  assert.deepEqual(bearers.map(({ key, life }) => `${key} ${life === null ? 'stays' : 'goes'}`).sort(), [
    'a stays',
    'b stays',
    'c goes',
  ])
})
