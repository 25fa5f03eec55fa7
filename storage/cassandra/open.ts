/** Opens log and records over Cassandra: connects, brings the schema up to date, and makes sure that the settings are the data's. */
import type { Bus, Clock, Random, Storage, Table } from '../../core/ports.ts'
import { CannotOpen } from '../level/meta.ts'
import type { StorageObserver } from '../open.ts'
import { ulids } from '../ulid.ts'
import { Decisions } from './decisions.ts'
import { Ends } from './ends.ts'
import { CassandraLog } from './log.ts'
import { migrate, migrations } from './migrations.ts'
import { CassandraRecords } from './records.ts'
import { Redo } from './redo.ts'
import { Ring, type RingOptions } from './ring.ts'
import { Writer } from './writer.ts'

export interface CassandraNeeds extends RingOptions {
  clock: Clock
  random: Random
  observer: Partial<StorageObserver>
  /** How the nodes of a cluster tell each other. */
  bus?: Bus | undefined
  /** Replicas in the datacenter of a keyspace that is not there yet. */
  replication: number
  /** Entries of a bucket: set once, with the first start. */
  bucketSize: number
  /** Tables with indexes: what a crash left to do is known by name only. */
  tables: readonly Table<never>[]
}

const pause = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

/** @throws CannotOpen: no node answers, or the keyspace is not ours. */
export async function openCassandra(needs: CassandraNeeds): Promise<Storage> {
  const ring = await connect(needs)
  try {
    await migrate(ring, await migrations(), pause)
    const decisions = new Decisions(ring, () => performance.now())
    const redo = new Redo(needs.tables)
    const writer = new Writer({ ring, clock: needs.clock, decisions, redo, pause, random: Math.random })
    const records = new CassandraRecords({ ring, writer, decisions, redo })
    const ends = new Ends(ring, needs.bucketSize)
    const { clock, random, observer, bus } = needs
    const log = new CassandraLog({
      ring,
      ends,
      writer,
      decisions,
      redo,
      clock,
      ulid: ulids(random),
      pause,
      observer,
      bus,
    })
    return {
      log,
      records,
      async ready() {},
      async [Symbol.asyncDispose]() {
        await log.close()
        await ring[Symbol.asyncDispose]()
      },
    }
  } catch (cause) {
    await ring[Symbol.asyncDispose]()
    throw cause
  }
}

async function connect(needs: CassandraNeeds): Promise<Ring> {
  const { keyspace, datacenter, replication, hosts } = needs
  try {
    await using plain = await Ring.connect(needs)
    await plain.command(
      `CREATE KEYSPACE IF NOT EXISTS ${keyspace} WITH replication = {'class': 'NetworkTopologyStrategy', '${datacenter}': ${replication}}`,
    )
    return await Ring.connect(needs, keyspace)
  } catch (cause) {
    throw new CannotOpen(`Cassandra cannot be reached at ${hosts.join(', ')}: ${(cause as Error).message}`, { cause })
  }
}
