/** Keyspaces of tests, in the Cassandra that CASSANDRA names, as test/run.mjs does, or else in one of the file's own. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after } from 'node:test'
import type { Clock, Cluster, Storage } from '../../core/ports.ts'
import { type CassandraNeeds, openCassandra } from '../../storage/cassandra/open.ts'
import { Ring } from '../../storage/cassandra/ring.ts'
import type { Hub } from '../../storage/memory/hub.ts'
import { type Engine, TestClock } from '../contracts/ground.ts'
import { absentJava } from './cassandra/java.ts'
import { CassandraNodes } from './cassandra.ts'
import type { Ends } from './ends.ts'

/** Where it is, or why there is none; where REQUIRE_REAL_PARTS is set, there must be one. */
export async function cassandra(): Promise<{ hosts: string[]; skip: string | false }> {
  const { CASSANDRA, REQUIRE_REAL_PARTS } = process.env
  if (CASSANDRA) return { hosts: CASSANDRA.split(','), skip: false }
  const skip = absentJava()
  assert.ok(!skip || !REQUIRE_REAL_PARTS, String(skip))
  if (skip) return { hosts: [], skip }
  const { hosts } = await CassandraNodes.start({ after }, { heapMiB: 1024 })
  return { hosts, skip }
}

export type Ours = Omit<CassandraNeeds, 'clock' | 'observer'>

/** One of a test's own, which goes with it. */
export function keyspaceOf(t: Ends, hosts: readonly string[], more: Partial<Ours> = {}): Ours {
  const keyspace = `t${randomBytes(6).toString('hex')}`
  const replication = Math.min(3, hosts.length)
  const ours: Ours = {
    ...{ hosts, keyspace, datacenter: 'datacenter1', consistency: 'local-quorum', replication, bucketSize: 50 },
    ...{ random: { bytes: randomBytes }, tables: [] },
    ...more,
  }
  t.after(async () => {
    await using ring = await ringOf(ours, 'system')
    await ring.command(`DROP KEYSPACE IF EXISTS ${keyspace}`)
  })
  return ours
}

/** Every table that holds data; what servers agreed on stays. */
const TABLES = ['log', 'heads', 'records', 'record_index', 'decisions']

/** One for all tests of a file, called before them: each gets it empty, which takes a fraction of what a new one does. */
export function sharedKeyspace(hosts: readonly string[]): () => Promise<Ours> {
  const ours = keyspaceOf({ after }, hosts)
  let isUsed = false
  return async () => {
    if (isUsed) {
      await using ring = await ringOf(ours, ours.keyspace)
      for (const table of TABLES) await ring.command(`TRUNCATE ${table}`)
    }
    isUsed = true
    return ours
  }
}

/** What the contracts of storage are asked of. */
export function engineOn(name: string, hosts: readonly string[], share = 1): Engine {
  const emptied = sharedKeyspace(hosts)
  return {
    name,
    keeps: true,
    alone: false,
    share,
    async make() {
      const ours = await emptied()
      return { open: clock => openCassandra({ ...ours, clock, observer: {} }) }
    },
  }
}

/** What a server asks Cassandra through, past its log and records. */
export const ringOf = ({ hosts, datacenter, consistency }: Ours, keyspace: string): Promise<Ring> =>
  Ring.connect({ hosts, datacenter, consistency }, keyspace)

/** Open until the test ends. */
export async function opened(t: Ends, ours: Ours, clock: Clock = new TestClock(), cluster?: Cluster): Promise<Storage> {
  const storage = await openCassandra({ ...ours, clock, cluster, observer: {} })
  t.after(async () => storage[Symbol.asyncDispose]())
  return storage
}

/** Of so many servers with one clock, one after the other; on a hub they hear each other. */
export async function openedBy(t: Ends, ours: Ours, count: number, clock = new TestClock(), hub?: Hub) {
  const all: Storage[] = []
  for (let nth = 0; nth < count; nth++) all.push(await opened(t, ours, clock, hub?.join(`n${nth}`)))
  return all
}

export { openCassandra }
