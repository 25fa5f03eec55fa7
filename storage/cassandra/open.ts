/** Opens log and records over Cassandra: connects, brings the schema up to date, and makes sure that the settings are the data's. */
import { readFile } from 'node:fs/promises'
import type { Bus, Clock, Random, Storage, Table } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import { CannotOpen } from '../level/meta.ts'
import type { StorageObserver } from '../open.ts'
import { ulids } from '../ulid.ts'
import { Decisions } from './decisions.ts'
import { Ends } from './ends.ts'
import { CassandraLog } from './log.ts'
import { agree } from './meta.ts'
import { migrate, migrations } from './migrations.ts'
import { readiness } from './ready.ts'
import { CassandraRecords } from './records.ts'
import { Redo } from './redo.ts'
import { Ring, type RingOptions } from './ring.ts'
import { Writer } from './writer.ts'

export interface CassandraNeeds extends Omit<RingOptions, 'password' | 'ca'> {
  clock: Clock
  random: Random
  observer: Partial<StorageObserver>
  /** How the nodes of a cluster tell each other. */
  bus?: Bus | undefined
  passwordFile?: string | undefined
  /** PEM of the authority that signed the nodes' certificates; TLS with it. */
  caFile?: string | undefined
  /** Replicas in the datacenter of a keyspace that is not there yet. */
  replication: number
  /** Entries of a bucket: set once, with the first start. */
  bucketSize: number
  /** Tables with indexes: what a crash left to do is known by name only. */
  tables: readonly Table<never>[]
}

const pause = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

/** @throws CannotOpen: no node answers, the keyspace is not ours, or is used with other settings. */
export async function openCassandra(needs: CassandraNeeds): Promise<Storage> {
  const ring = await connect(needs)
  needs.observer.ringJoined?.(ring.hosts())
  try {
    await migrate(ring.everywhere(), await migrations(), pause)
    await agree(ring.everywhere(), needs)
    return parts(ring, needs)
  } catch (cause) {
    await ring[Symbol.asyncDispose]()
    throw cause instanceof Fault ? cannot(needs, cause.cause) : cause
  }
}

function parts(ring: Ring, needs: CassandraNeeds): Storage {
  const { clock, random, observer, bus, tables, bucketSize } = needs
  const decisions = new Decisions(ring, () => performance.now())
  const redo = new Redo(tables)
  const writer = new Writer({ ring, clock, decisions, redo, pause, random: Math.random })
  const records = new CassandraRecords({ ring, writer, decisions, redo })
  const ends = new Ends(ring, bucketSize)
  const shared = { ring, ends, writer, decisions, redo, clock, ulid: ulids(random), pause, observer, bus }
  const log = new CassandraLog(shared)
  return {
    log,
    records,
    ready: readiness(ring, () => performance.now()),
    async [Symbol.asyncDispose]() {
      await log.close()
      await ring[Symbol.asyncDispose]()
    },
  }
}

async function connect(needs: CassandraNeeds): Promise<Ring> {
  const { keyspace, datacenter, replication, passwordFile, caFile } = needs
  const password = passwordFile && (await textOf(passwordFile, 'password of Cassandra')).replace(/\r?\n$/, '')
  const ca = caFile && (await textOf(caFile, 'certificate of Cassandra'))
  const options: RingOptions = { ...needs, password, ca }
  try {
    await using plain = await Ring.connect(options)
    await plain.command(
      `CREATE KEYSPACE IF NOT EXISTS ${keyspace} WITH replication = {'class': 'NetworkTopologyStrategy', '${datacenter}': ${replication}}`,
    )
    return await Ring.connect(options, keyspace)
  } catch (cause) {
    throw cannot(needs, cause)
  }
}

async function textOf(file: string, what: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new CannotOpen(`The file with the ${what} cannot be read: ${error.code}.`)
  })
}

function cannot({ hosts }: CassandraNeeds, cause: unknown): CannotOpen {
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
