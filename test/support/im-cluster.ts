/** `im` on a keyspace of a test. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Totals } from '../../server/archive/tally.ts'
import type { CassandraNeeds } from '../../storage/cassandra/open.ts'
import { TestClock } from '../contracts/ground.ts'
import { begin } from './im.ts'
import { type Ours, openCassandra } from './keyspace.ts'

export const NOWHERE = 'redis://127.0.0.1:1'

export async function place(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'im-cluster-tools-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return directory
}

export const settingsOf = (ours: Ours, redis = NOWHERE) => ({
  IM_STORAGE: 'cassandra',
  IM_CASSANDRA_HOSTS: ours.hosts.join(','),
  IM_CASSANDRA_KEYSPACE: ours.keyspace,
  IM_CASSANDRA_REPLICATION: '1',
  IM_CASSANDRA_BUCKET: `${ours.bucketSize}`,
  IM_REDIS_URL: redis,
})
type Settings = ReturnType<typeof settingsOf>
export const on = (settings: Settings, ...options: string[]) => begin('/nowhere', options, '', settings).ended
export const typed = (settings: Settings, input: string, ...options: string[]) =>
  begin('/nowhere', options, input, settings).ended

/** What is the same of one set of items on every engine. */
export const digests = ({ kind: _, sha256: __, ...kinds }: Totals) => kinds

export const needs = (ours: Ours): CassandraNeeds => ({ ...ours, clock: new TestClock(), observer: {} })
export const inKeyspace = (ours: Ours) => openCassandra(needs(ours))
