/** A server that stands still for longer than it counts as living, as a machine that is moved does, and goes on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cassandra } from './support/keyspace.ts'
import { TestCluster } from './support/nodes.ts'
import { entryOf } from './support/person.ts'
import { until } from './support/redis.ts'
import { absent, TestServer } from './support/server.ts'

const { hosts, skip: noCassandra } = await cassandra()
const skip = noCassandra || (await absent('redis-server'))
/** Another server has given it up after 15 s, by looks every 3 s. */
const GIVEN_UP_MS = 40_000

test('keeps its clients, who hear nothing of it', { skip, timeout: 120_000 }, async t => {
  const cluster = new TestCluster(t, 2, hosts.join(','))
  const [sleeper, other] = (await cluster.settings()).map(settings => TestServer.idle(t, settings)) as [
    TestServer,
    TestServer,
  ]
  t.after(() => cluster.remove())
  await sleeper.start()
  await other.start()
  const { bob, carol } = await sleeper.people('bob', 'carol')
  const { alice } = await other.people('alice')
  const [his, hers] = [await bob.connect(5), await carol.connect(5)]
  await his.subscribe(bob.inbox)
  await hers.subscribe(carol.inbox)
  const say = async (to: string, text: string) =>
    assert.equal((await alice.api('POST', `/users/${to}/messages`, { text })).status, 201)
  const givenUp = async () => {
    const rows = await cluster.ask(`SELECT tbl, row FROM ${cluster.keyspace}.records`)
    return rows.filter(({ tbl, row }) => tbl === 'sessions' && `${row}`.includes('"expiresAt"')).length
  }
  await say('bob', 'before')
  assert.equal(entryOf(await his.next('publish')).text, 'before')
  sleeper.pause()
  await until(async () => (await givenUp()) === 2, 'both sessions are given up', GIVEN_UP_MS)
  await say('bob', 'while it sleeps')
  sleeper.resume()
  // One of them has something to acknowledge, the other has not.
  await until(async () => (await givenUp()) === 0, 'both sessions are taken back')
  assert.equal(entryOf(await his.next('publish')).text, 'while it sleeps')
  await say('carol', 'behind')
  assert.equal(entryOf(await hers.next('publish')).text, 'behind')
  for (const script of [his, hers]) {
    await script.ping()
    assert.ok(!script.packets.some(({ type }) => type === 'disconnect'))
  }
})
