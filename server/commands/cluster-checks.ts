/** What `im doctor` says of a cluster's Cassandra and Redis, and what to do about it. No secrets. */
import { type KeyspaceSurvey, type Survey, surveyCassandra, surveyRedis } from '../../storage/open.ts'
import type { Config } from '../config.ts'
import { keyspace, redisAccess } from '../keyspace.ts'
import { type Check, type Tell, telling } from './checks.ts'

/** Clocks that differ by more put messages of one conversation at odds with the time of the day. */
const SLACK_MS = 1_000
/** Copies of which one can be away. */
const MIN_COPIES = 3

export async function checkCluster(config: Config, checks: Check[]): Promise<void> {
  await checkCassandra(config, checks)
  await checkRedis(config, checks)
}

async function checkCassandra(config: Config, checks: Check[]): Promise<void> {
  const tell = telling('cassandra', checks)
  let found: Survey
  try {
    found = await surveyCassandra(keyspace(config))
  } catch (cause) {
    tell(
      'problem',
      bare((cause as Error).message),
      'Start Cassandra there, or correct IM_CASSANDRA_HOSTS, IM_CASSANDRA_DATACENTER, and who logs in how (IM_CASSANDRA_USER, IM_CASSANDRA_PASSWORD_FILE, IM_CASSANDRA_CA).',
    )
    return
  }
  tellNodes(config, found, tell)
  if (found.keyspace) {
    tellDisk(found.keyspace.copies[config.cassandraDatacenter] ?? 0, found.commitlogSync, tell)
    tellKeyspace(config, found.keyspace, tell)
  } else tellAbsent(config, found, tell)
  tellClock(found, telling('clock', checks))
}

const here = ({ cassandraDatacenter }: Config, { hosts }: Survey) =>
  hosts.find(({ datacenter }) => datacenter === cassandraDatacenter) ?? { known: 0, up: 0 }

function tellNodes(config: Config, found: Survey, tell: Tell): void {
  const { known, up } = here(config, found)
  const says = `${up} of ${nodes(known)} of ${config.cassandraDatacenter} answer, version ${found.release}`
  if (up === known) tell('ok', says)
  else tell('warning', says, 'See `nodetool status` for the nodes that are down, and start them.')
}

function tellAbsent(config: Config, found: Survey, tell: Tell): void {
  const { cassandraKeyspace: name, cassandraReplication: count } = config
  const { known } = here(config, found)
  if (count > known)
    tell(
      'problem',
      `the keyspace ${name} is not there yet, and ${copies(count)} have no room on ${nodes(known)}`,
      `Start more nodes, or, for trying out, set IM_CASSANDRA_REPLICATION=${known}.`,
    )
  else tell('ok', `the keyspace ${name} is not there yet: the first start makes it, with ${copies(count)}`)
  tellDisk(count, found.commitlogSync, tell)
}

function tellKeyspace(config: Config, found: KeyspaceSurvey, tell: Tell): void {
  const { cassandraKeyspace: name } = config
  tellCopies(config, found, tell)
  const { decided, schema, shape } = found
  if ('failed' in decided) {
    const says = `a majority of the copies of ${name} does not decide: ${bare(decided.failed)}`
    tell('problem', says, 'Start the nodes that are down: before, nothing can be sent or read.')
    return
  }
  tellSchema(name, schema, decided.ms, tell)
  if (shape && 'failed' in shape)
    tell('problem', bare(shape.failed), 'Set it on this server: all servers have the same.')
  else if (shape) {
    const { bucketSize, consistency, datacenter } = shape
    const says = `${name} is kept in buckets of ${bucketSize}, with ${consistency} in ${datacenter}, as the settings say`
    tell('ok', says)
  }
  if (found.unfinished) {
    const todo = `Run \`im import\`, or \`im restore\`, again, or drop the keyspace ${name}.`
    tell('problem', `what is being filled into ${name} is not whole yet`, todo)
  }
}

function tellSchema(name: string, schema: KeyspaceSurvey['schema'], ms: number, tell: Tell): void {
  if (!schema) tell('ok', `the keyspace ${name} has no tables of ours yet: the first start makes them`)
  else if ('failed' in schema)
    tell('problem', bare(schema.failed), 'Run the version of this program that made it, or a later one.')
  else if (schema.toCome.length > 0) {
    const says = `the schema of ${name} is that of an earlier version: the next start applies ${schema.toCome.join(', ')}`
    tell('ok', says)
  } else {
    const says = `the schema of ${name} is this version's (${schema.applied}), and a majority decides in ${ms} ms`
    tell('ok', says)
  }
}

const bare = (says: string) => says.replace(/\.$/, '').replace(/^The /, 'the ')
const copies = (count: number) => `${count} ${count === 1 ? 'copy' : 'copies'}`
const nodes = (count: number) => `${count} ${count === 1 ? 'node' : 'nodes'}`

function tellCopies(config: Config, { copies: all }: KeyspaceSurvey, tell: Tell) {
  const { cassandraKeyspace: name, cassandraDatacenter: at } = config
  const count = all[at] ?? 0
  const wanted = Object.entries({ ...all, [at]: MIN_COPIES }).map(([place, number]) => `'${place}': ${number}`)
  const change = `ALTER KEYSPACE ${name} WITH replication = {'class': 'NetworkTopologyStrategy', ${wanted.join(', ')}}; then \`nodetool repair --full ${name}\` on every node.`
  if (count === 0)
    tell('problem', `${name} has no copy in ${at}`, `Set IM_CASSANDRA_DATACENTER to one of its own, or ${change}`)
  else if (count < MIN_COPIES) {
    const says = `${name} has ${copies(count)} in ${at}: no node that holds a row may stop`
    tell('warning', says, `With ${MIN_COPIES} nodes or more: ${change}`)
  } else tell('ok', `${name} has ${copies(count)} in ${at}`)
}

/** Where a row is on one disk alone, that disk must have it before anyone is answered. */
export function tellDisk(count: number, sync: string | undefined, tell: Tell): void {
  if (count > 1 || sync !== 'periodic') return
  const says =
    'Cassandra answers before its disk has what was written (commitlog_sync: periodic), and there is no other copy'
  tell(
    'warning',
    says,
    'Set commitlog_sync: batch in cassandra.yaml, or what is acknowledged may be lost with the process.',
  )
}

function tellClock({ clockOffsetMs: ms }: Survey, tell: Tell): void {
  const says = `Cassandra's clock and this one differ by ${Math.abs(ms)} ms`
  if (Math.abs(ms) < SLACK_MS) tell('ok', says)
  else
    tell('warning', `${says}: Cassandra is ${ms > 0 ? 'ahead' : 'behind'}`, 'Keep the clocks of all machines by NTP.')
}

async function checkRedis(config: Config, checks: Check[]): Promise<void> {
  const tell = telling('redis', checks)
  const access = redisAccess(config)
  if (!access) return
  try {
    const { address, version, role, state, ms } = await surveyRedis(access)
    const says = `${address} is version ${version} and answers in ${ms} ms`
    if (state !== undefined && state !== 'ok')
      tell('problem', `${says}, and its Cluster is in the state ${state}`, 'Start the nodes of it that are down.')
    else if (state === undefined && role !== 'master')
      tell(
        'problem',
        `${says}, and is a replica, which takes no writes`,
        'Name the master in IM_REDIS_URL, or its Sentinels: redis+sentinel://…/name.',
      )
    else tell('ok', says)
  } catch (cause) {
    tell(
      'problem',
      bare((cause as Error).message),
      'Start Redis there, or correct IM_REDIS_URL or IM_REDIS_PASSWORD_FILE. Servers go on without, slower, and hear of each other late.',
    )
  }
}
