/** What there is to say of a cluster's Cassandra before a server starts. Changes nothing. */
import { CannotOpen } from '../level/meta.ts'
import { isUnfinished } from './claim.ts'
import type { HostFigures } from './hosts.ts'
import { LOOK, mustBeSame } from './meta.ts'
import { migrations, missing } from './migrations.ts'
import { type CassandraNeeds, cannot, optionsOf } from './open.ts'
import { Ring, type Row } from './ring.ts'

export interface Survey {
  hosts: HostFigures[]
  /** Of the node that was asked. */
  release: string
  /** Its clock, or that of the node that is furthest away, less the clock here. */
  clockOffsetMs: number
  /** How it writes to its disk: `batch` and `group` before it answers, `periodic` after. Absent: it does not tell. */
  commitlogSync?: string
  /** Absent: there is no keyspace yet. */
  keyspace?: KeyspaceSurvey
}
export interface KeyspaceSurvey {
  /** Copies in each datacenter. */
  copies: Record<string, number>
  /** How long a majority takes to decide; or why it does not. */
  decided: { ms: number } | { failed: string }
  /** Migrations that are still to come; or why they cannot. Absent: no server was here yet. */
  schema?: { applied: number; toCome: string[] } | { failed: string }
  /** As the data is kept; or how the settings differ from it. Absent: no server was here yet. */
  shape?: { bucketSize: number; consistency: string; datacenter: string } | { failed: string }
  unfinished: boolean
}

/** @throws CannotOpen: no node answers, or it refuses us */
export async function survey(needs: CassandraNeeds): Promise<Survey> {
  try {
    const options = await optionsOf(needs)
    await using ring = await Ring.connect(options)
    const [local] = await ring.command('SELECT release_version FROM system.local')
    const found: Survey = {
      ...{ hosts: ring.hosts()(), release: String(local?.release_version), clockOffsetMs: await offset(ring) },
      ...(await syncOf(ring)),
    }
    const query = 'SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?'
    const [row] = await ring.read(query, [needs.keyspace])
    if (!row) return found
    await using inside = await Ring.connect(options, needs.keyspace)
    return { ...found, keyspace: await keyspaceSurvey(inside, row.replication as Record<string, string>, needs) }
  } catch (cause) {
    throw cause instanceof CannotOpen ? cause : cannot(needs, cause)
  }
}

/** Who may not read it is told nothing. */
async function syncOf(ring: Ring): Promise<Pick<Survey, 'commitlogSync'>> {
  const query = "SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'"
  const [row] = await ring.command(query).catch((): Row[] => [])
  return typeof row?.value === 'string' ? { commitlogSync: row.value } : {}
}

/** Nodes are asked in turn. */
async function offset(ring: Ring): Promise<number> {
  let furthest = 0
  for (const _ of ring
    .hosts()()
    .flatMap(({ up }) => Array.from({ length: up }))) {
    const before = Date.now()
    const [row] = await ring.command('SELECT toTimestamp(now()) AS time FROM system.local')
    const here = (before + Date.now()) / 2
    const is = Math.round(Number(row?.time) - here)
    if (Math.abs(is) > Math.abs(furthest)) furthest = is
  }
  return furthest
}

async function keyspaceSurvey(
  ring: Ring,
  { class: _, ...copies }: Record<string, string>,
  needs: CassandraNeeds,
): Promise<KeyspaceSurvey> {
  const { keyspace } = needs
  const tables = await ring.read('SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?', [keyspace])
  const has = (name: string) => tables.some(row => row.table_name === name)
  const found = { copies: Object.fromEntries(Object.entries(copies).map(([name, count]) => [name, Number(count)])) }
  if (!has('migrations')) return { ...found, decided: { ms: 0 }, unfinished: false }
  const decided = has('settings') ? await decides(ring) : { ms: 0 }
  if ('failed' in decided) return { ...found, decided, unfinished: false }
  const schema = await schemaOf(ring)
  const [row] = has('settings') ? await ring.read(LOOK, []) : []
  const unfinished = 'applied' in schema && schema.toCome.length === 0 && (await isUnfinished(ring))
  if (!row) return { ...found, decided, schema, unfinished }
  const { bucket_size: bucketSize, consistency, datacenter } = row
  const kept = { bucketSize: Number(bucketSize), consistency: String(consistency), datacenter: String(datacenter) }
  const differ = saysOf(() => mustBeSame(row, needs))
  return { ...found, decided, schema, shape: differ === undefined ? kept : { failed: differ }, unfinished }
}

async function decides(ring: Ring): Promise<KeyspaceSurvey['decided']> {
  const from = performance.now()
  try {
    await ring.readSerial(LOOK, [])
    return { ms: Math.round(performance.now() - from) }
  } catch (fault) {
    const { cause } = fault as Error
    return { failed: cause instanceof Error ? cause.message : String(fault) }
  }
}

async function schemaOf(ring: Ring): Promise<{ applied: number; toCome: string[] } | { failed: string }> {
  const known = await migrations()
  try {
    const toCome = await missing(ring, known)
    return { applied: known.length - toCome.length, toCome: toCome.map(({ name }) => name) }
  } catch (cause) {
    if (cause instanceof CannotOpen) return { failed: cause.message }
    throw cause
  }
}

function saysOf(check: () => void): string | undefined {
  try {
    check()
    return undefined
  } catch (cause) {
    if (cause instanceof CannotOpen) return cause.message
    throw cause
  }
}
