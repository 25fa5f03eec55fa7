/**
 * A server that changes the schema, as a process that can be killed: `migrator.js host keyspace lock-seconds`. It says each
 * statement before it is carried out.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { migrate, migrations } from '../../../storage/cassandra/migrations.ts'
import { Ring } from '../../../storage/cassandra/ring.ts'

const [host = '', keyspace = '', seconds] = process.argv.slice(2)
const ring = await Ring.connect({ hosts: [host], datacenter: 'datacenter1', consistency: 'local-quorum' }, keyspace)
const command = ring.command.bind(ring)
ring.command = async query => {
  process.stdout.write(`${query.replaceAll('\n', ' ')}\n`)
  return command(query)
}
await migrate(ring, await migrations(), ms => pause(ms), Number(seconds))
await ring[Symbol.asyncDispose]()
