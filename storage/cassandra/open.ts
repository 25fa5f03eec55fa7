/** Opens log and records over Cassandra: connects, brings the schema up to date, and makes sure that the settings are the data's. */
import { readFile } from 'node:fs/promises'
import type { Clock, Cluster, Random, Storage, Table } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import { CannotOpen } from '../level/meta.ts'
import type { StorageObserver } from '../open.ts'
import { ulids } from '../ulid.ts'
import { mustBeFinished } from './claim.ts'
import { Decisions } from './decisions.ts'
import { Ends } from './ends.ts'
import { CassandraLog } from './log.ts'
import { agree } from './meta.ts'
import { migrate, migrations, mustBeCurrent } from './migrations.ts'
import { readiness } from './ready.ts'
import { CassandraRecords } from './records.ts'
import { Redo } from './redo.ts'
import { Ring, type RingOptions } from './ring.ts'
import { Writer } from './writer.ts'

export interface CassandraNeeds extends Omit<RingOptions, 'password' | 'ca'> {
  clock: Clock
  random: Random
  observer: Partial<StorageObserver>
  /** The other nodes; absent: this one is alone. */
  cluster?: Pick<Cluster, 'node' | 'bus' | 'leases'> | undefined
  passwordFile?: string | undefined
  /** PEM of the authority that signed the nodes' certificates; TLS with it. */
  caFile?: string | undefined
  /** Replicas in the datacenter of a keyspace that is not there yet. */
  replication: number
  /** Entries of a bucket: set once, with the first start. */
  bucketSize: number
  /** Tables with indexes: what a crash left to do is known by name only. */
  tables: readonly Table<never>[]
  /** A keyspace that is not there, or is of a version before, is refused: nothing is made or brought up to date. */
  existing?: boolean
}

export const pause = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

/** @throws CannotOpen: no node answers, the keyspace is not ours, is used with other settings, or an import is filling it. */
export function openCassandra(needs: CassandraNeeds): Promise<Storage> {
  return connected(needs, async ring => {
    await mustBeFinished(ring.everywhere(), needs.keyspace)
    const { log, records, close } = partsOf(ring, needs)
    return { log, records, ready: readiness(ring, () => performance.now()), [Symbol.asyncDispose]: close }
  })
}

/** What is made of a keyspace that is up to date and agrees with the settings; it closes the ring. @throws CannotOpen */
export async function connected<T>(needs: CassandraNeeds, make: (ring: Ring) => Promise<T>): Promise<T> {
  const ring = await connect(needs)
  needs.observer.ringJoined?.(ring.hosts())
  try {
    if (needs.existing) await mustBeCurrent(ring, needs.keyspace, await migrations())
    else await migrate(ring.everywhere(), await migrations(), pause)
    await agree(ring.everywhere(), needs)
    return await make(ring)
  } catch (cause) {
    await ring[Symbol.asyncDispose]()
    throw cause instanceof CannotOpen ? cause : cannot(needs, cause instanceof Fault ? cause.cause : cause)
  }
}

export function partsOf(ring: Ring, needs: CassandraNeeds) {
  const { clock, random, observer, cluster, tables, bucketSize } = needs
  const decisions = new Decisions(ring, () => performance.now())
  const redo = new Redo(tables)
  const writer = new Writer({ ring, clock, decisions, redo, pause, random: Math.random })
  const records = new CassandraRecords({ ring, writer, decisions, redo })
  const ends = new Ends(ring, bucketSize)
  const shared = { ring, ends, writer, decisions, redo, clock, ulid: ulids(random), pause, observer, cluster }
  const log = new CassandraLog(shared)
  const close = async () => {
    await log.close()
    await writer.tidied()
    await ring[Symbol.asyncDispose]()
  }
  return { log, records, ends, close }
}

/** With what the files hold. @throws CannotOpen */
export async function optionsOf(needs: CassandraNeeds): Promise<RingOptions> {
  const { passwordFile, caFile } = needs
  const password = passwordFile && (await textOf(passwordFile, 'password of Cassandra')).replace(/\r?\n$/, '')
  const ca = caFile && (await textOf(caFile, 'certificate of Cassandra'))
  return { ...needs, password, ca }
}

async function connect(needs: CassandraNeeds): Promise<Ring> {
  const { keyspace, datacenter, replication } = needs
  const options = await optionsOf(needs)
  try {
    await using plain = await Ring.connect(options)
    if (needs.existing) await mustBeThere(plain, needs)
    else
      await plain.define(
        `CREATE KEYSPACE IF NOT EXISTS ${keyspace} WITH replication = {'class': 'NetworkTopologyStrategy', '${datacenter}': ${replication}}`,
      )
    return await Ring.connect(options, keyspace)
  } catch (cause) {
    throw cause instanceof CannotOpen ? cause : cannot(needs, cause)
  }
}

async function mustBeThere(ring: Ring, { keyspace, hosts }: CassandraNeeds): Promise<void> {
  const query = 'SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?'
  if ((await ring.read(query, [keyspace])).length === 0)
    throw new CannotOpen(
      `There is no keyspace ${keyspace} at ${hosts.join(', ')}: IM_CASSANDRA_KEYSPACE names another.`,
    )
}

async function textOf(file: string, what: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new CannotOpen(`The file with the ${what} cannot be read: ${error.code}.`)
  })
}

export function cannot({ hosts }: CassandraNeeds, cause: unknown): CannotOpen {
  const says = reasonsOf(cause).join('; ')
  return new CannotOpen(`Cassandra cannot be used at ${hosts.join(', ')}: ${says}`, { cause })
}

/** The driver tells of each node it tried apart from the message. */
function reasonsOf(cause: unknown): string[] {
  if (!(cause instanceof Error)) return [String(cause)]
  const { innerErrors = {} } = cause as { innerErrors?: Record<string, unknown> }
  const inner = Object.values(innerErrors).flatMap(reasonsOf)
  return inner.length > 0 ? [...new Set(inner)] : [cause.message]
}
