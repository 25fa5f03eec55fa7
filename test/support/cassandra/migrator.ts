/**
 * A server that changes the schema, as a process that can be killed: `migrator.js host keyspace lock-seconds`. It says each
 * statement before it is carried out.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { migrate, migrations } from '../../../storage/cassandra/migrations.ts'
import { Ring } from '../../../storage/cassandra/ring.ts'

const [host = '', keyspace = '', seconds] = process.argv.slice(2)
const ring = await Ring.connect({ hosts: [host], datacenter: 'datacenter1', consistency: 'local-quorum' }, keyspace)
const define = ring.define.bind(ring)
ring.define = async query => {
  process.stdout.write(`${query.replaceAll('\n', ' ')}\n`)
  return define(query)
}
await migrate(ring, await migrations(), ms => pause(ms), Number(seconds))
await ring[Symbol.asyncDispose]()
