/** The contracts of log and records, over a real Cassandra. */
import { randomBytes } from 'node:crypto'
import { openCassandra } from '../storage/cassandra/open.ts'
import type { Engine } from './contracts/ground.ts'
import { recordsContract } from './contracts/records.ts'

const hosts = (process.env.CASSANDRA ?? '127.0.0.1:9042').split(',')
const engine: Engine = {
  name: 'cassandra',
  keeps: true,
  async make() {
    const keyspace = `t${randomBytes(6).toString('hex')}`
    const options = { hosts, datacenter: 'datacenter1', keyspace, consistency: 'local-quorum' as const, replication: 1 }
    return {
      open: clock => openCassandra({ ...options, clock, random: { bytes: randomBytes }, observer: {}, tables: [] }),
    }
  },
}
recordsContract(engine)
