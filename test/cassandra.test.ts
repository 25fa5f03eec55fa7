/** The contracts of log and records, over a real Cassandra. */
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { openCassandra } from '../storage/cassandra/open.ts'
import { Ring } from '../storage/cassandra/ring.ts'
import type { Engine } from './contracts/ground.ts'
import { logContract } from './contracts/log.ts'
import { logReadingContract } from './contracts/log-reading.ts'
import { logTrimmingContract } from './contracts/log-trimming.ts'
import { logWritesContract } from './contracts/log-writes.ts'
import { recordsContract } from './contracts/records.ts'

const CONTRACTS = [logContract, logReadingContract, logWritesContract, logTrimmingContract, recordsContract]
const hosts = (process.env.CASSANDRA ?? '127.0.0.1:9042').split(',')
const engine: Engine = {
  name: 'cassandra',
  keeps: true,
  alone: false,
  async make(t) {
    const keyspace = `t${randomBytes(6).toString('hex')}`
    const options = {
      hosts,
      datacenter: 'datacenter1',
      keyspace,
      consistency: 'local-quorum' as const,
      replication: 1,
      bucketSize: 50,
    }
    t.after(async () => {
      await using ring = await Ring.connect(options)
      await ring.command(`DROP KEYSPACE IF EXISTS ${keyspace}`)
    })
    return {
      open: clock => openCassandra({ ...options, clock, random: { bytes: randomBytes }, observer: {}, tables: [] }),
    }
  },
}
if (!process.env.CASSANDRA) test('the contracts over Cassandra', { skip: 'CASSANDRA names no host' })
else for (const contract of CONTRACTS) contract(engine)
