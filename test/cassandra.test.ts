/** The contracts of log and records, over a real Cassandra of one node; test/ring.test.ts asks three. */
import { test } from 'node:test'
import { storageContracts } from './contracts/storage.ts'
import { cassandra, engineOn } from './support/keyspace.ts'

const { hosts, skip } = await cassandra()
if (skip) test('the contracts over Cassandra', { skip })
else storageContracts(engineOn('cassandra', hosts))
