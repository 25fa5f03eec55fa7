/** What `GET /metrics` of a server tells of the nodes of a real Cassandra. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { errors, types } from 'cassandra-driver'
import { outcomeOfCause } from '../storage/cassandra/outcome.ts'
import { Ring } from '../storage/cassandra/ring.ts'
import { line } from './support/line.ts'
import { metrics } from './support/metrics.ts'
import { rest } from './support/person.ts'
import { RedisServer, until } from './support/redis.ts'
import { absent, TestServer } from './support/server.ts'

const { CASSANDRA } = process.env
const skip = CASSANDRA === undefined ? 'CASSANDRA names no host' : await absent('redis-server')
const KNOWN = 'im_cassandra_hosts_known{datacenter="datacenter1"}'
const UP = 'im_cassandra_hosts_up{datacenter="datacenter1"}'
const LOSSES = 'im_cassandra_host_losses_total{datacenter="datacenter1"}'

const [host = '127.0.0.1', port = '9042'] = (CASSANDRA ?? '').split(',')[0]?.split(':') ?? []

/** Of a server on a keyspace of the test's own. */
function settings(t: TestContext, at: string): Record<string, string> {
  const keyspace = `t${randomBytes(6).toString('hex')}`
  t.after(async () => {
    const where = { datacenter: 'datacenter1', consistency: 'local-quorum' as const }
    await using ring = await Ring.connect({ ...where, hosts: [`${host}:${port}`] })
    await ring.command(`DROP KEYSPACE IF EXISTS ${keyspace}`)
  })
  return {
    IM_STORAGE: 'cassandra',
    IM_CASSANDRA_HOSTS: at,
    IM_CASSANDRA_KEYSPACE: keyspace,
    IM_CASSANDRA_REPLICATION: '1',
  }
}

test('a server tells how many nodes of Cassandra there are, are up, and went down', {
  skip,
  timeout: 60_000,
}, async t => {
  const relay = await line(t, Number(port))
  const server = await TestServer.start(t, {
    ...settings(t, `127.0.0.1:${relay.port}`),
    IM_REDIS_URL: (await RedisServer.start(t)).url,
  })
  const told = async () => {
    const ask = await metrics(server)
    return [KNOWN, UP, LOSSES, 'im_ready', 'im_redis_up'].map(ask).join()
  }
  const { alice } = await server.people('alice')
  assert.equal(await told(), '1,1,0,1,1')
  relay.cut()
  await until(async () => (await told()) === '1,0,1,0,1', 'it is down')
  const refused = (outcome: string) =>
    `im_storage_requests_total{engine="cassandra",operation="read",outcome="${outcome}"}`
  await until(async () => {
    await alice.api('GET', '/conversations')
    const ask = await metrics(server)
    return Number(ask(refused('unavailable'))) + Number(ask(refused('timeout'))) > 0
  }, 'what is not done is counted')
  relay.mend()
  await until(async () => (await told()) === '1,1,1,1,1', 'it is up again')
})

test('a server counts the batches of appends that another server came before', { skip, timeout: 60_000 }, async t => {
  const shared = settings(t, `${host}:${port}`)
  // Neither hears of the other, so each believes that the conversation ends where it left it.
  const start = async (name: string) =>
    TestServer.start(t, { ...shared, IM_NODE: name, IM_REDIS_URL: (await RedisServer.start(t)).url })
  const [one, other] = [await start('one'), await start('other')]
  const { alice } = await one.people('alice', 'bob')
  const say = async (server: TestServer) =>
    assert.equal((await rest(server, 'POST', '/v1/users/bob/messages', { text: 'here' }, alice.key)).status, 201)
  const told = async (server: TestServer) => {
    const ask = await metrics(server)
    return ['applied', 'refused', 'unknown'].map(outcome => ask(`im_cassandra_batches_total{outcome="${outcome}"}`))
  }
  await say(other)
  assert.deepEqual(await told(other), [1, 0, 0])
  await say(one)
  await say(other)
  assert.deepEqual(await told(other), [2, 1, 0])
})

const { responseErrorCodes: codes } = types
const response = (code: number) => new errors.ResponseError(code, 'no')
const none = (...inner: Error[]) => new errors.NoHostAvailableError(Object.fromEntries(inner.entries()))
// biome-ignore format: a table, a row a line
const CAUSES: [cause: unknown, outcome: string][] = [
  [new errors.OperationTimedOutError('late'), 'timeout'],
  [response(codes.writeTimeout), 'timeout'],
  [response(codes.readTimeout), 'timeout'],
  [response(codes.writeFailure), 'timeout'],
  [response(codes.unavailableException), 'unavailable'],
  [response(codes.overloaded), 'unavailable'],
  [response(codes.syntaxError), 'failed'],
  [none(new Error('connect ECONNREFUSED')), 'unavailable'],
  [none(new Error('connect ECONNREFUSED'), new errors.OperationTimedOutError('late')), 'timeout'],
  [new Error('Too many writers of one row.'), 'failed'],
  [undefined, 'failed'],
]

test('a request that Cassandra did not do is told by what the driver says of it', () => {
  for (const [cause, outcome] of CAUSES) assert.equal(outcomeOfCause(cause), outcome, String(cause))
})
