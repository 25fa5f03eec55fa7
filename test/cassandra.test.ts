/** The contracts of log and records, over a real Cassandra. */
import { test } from 'node:test'
import type { Engine } from './contracts/ground.ts'
import { logContract } from './contracts/log.ts'
import { logReadingContract } from './contracts/log-reading.ts'
import { logTrimmingContract } from './contracts/log-trimming.ts'
import { logWritesContract } from './contracts/log-writes.ts'
import { recordsContract } from './contracts/records.ts'
import { cassandra, openCassandra, sharedKeyspace } from './support/keyspace.ts'

const CONTRACTS = [logContract, logReadingContract, logWritesContract, logTrimmingContract, recordsContract]
const { hosts, skip } = await cassandra()

function engine(): Engine {
  const emptied = sharedKeyspace(hosts)
  return {
    name: 'cassandra',
    keeps: true,
    alone: false,
    async make() {
      const ours = await emptied()
      return { open: clock => openCassandra({ ...ours, clock, observer: {} }) }
    },
  }
}
if (skip) test('the contracts over Cassandra', { skip })
else {
  const ours = engine()
  for (const contract of CONTRACTS) contract(ours)
}
