/** The contracts of log and records, over a real Cassandra. */
import { test } from 'node:test'
import type { Engine } from './contracts/ground.ts'
import { logContract } from './contracts/log.ts'
import { logReadingContract } from './contracts/log-reading.ts'
import { logTrimmingContract } from './contracts/log-trimming.ts'
import { logWritesContract } from './contracts/log-writes.ts'
import { recordsContract } from './contracts/records.ts'
import { cassandra, keyspaceOf, openCassandra } from './support/keyspace.ts'

const CONTRACTS = [logContract, logReadingContract, logWritesContract, logTrimmingContract, recordsContract]
const { hosts, skip } = await cassandra()
const engine: Engine = {
  name: 'cassandra',
  keeps: true,
  alone: false,
  async make(t) {
    const ours = keyspaceOf(t, hosts)
    return { open: clock => openCassandra({ ...ours, clock, observer: {} }) }
  },
}
if (skip) test('the contracts over Cassandra', { skip })
else for (const contract of CONTRACTS) contract(engine)
