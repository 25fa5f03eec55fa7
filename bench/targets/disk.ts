/** What lies on disk in a keyspace, of one node of a Cassandra that has ended: with and without the compression of its blocks. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { rounded } from '../workloads/workload.ts'

export interface Size {
  entries: number
  /** All files of the table `log`. */
  log_disk_bytes_per_entry: number
  /** Its rows, before they are compressed; the texts of a run look alike, so they compress better than those of people. */
  log_bytes_per_entry: number
  /** All files of every other table. */
  other_tables_disk_bytes: number
}

export function sizeOf(keyspace: string, entries: number): Size {
  const files = (readdirSync(keyspace, { recursive: true }) as string[])
    .map(name => ({ name, path: join(keyspace, name) }))
    .filter(({ path }) => statSync(path).isFile())
  const bytesOf = (some: typeof files) => some.reduce((sum, { path }) => sum + statSync(path).size, 0)
  const ofLog = files.filter(({ name }) => name.startsWith('log-'))
  const others = files.filter(({ name }) => !name.startsWith('log-'))
  const raw = ofLog
    .filter(({ name }) => name.endsWith('-CompressionInfo.db'))
    .reduce((sum, { path }) => sum + uncompressed(readFileSync(path)), 0)
  return {
    entries,
    log_disk_bytes_per_entry: rounded(bytesOf(ofLog) / entries),
    log_bytes_per_entry: rounded(raw / entries),
    other_tables_disk_bytes: bytesOf(others),
  }
}

/** The length of the data that a CompressionInfo.db tells: name, options, length of a chunk, longest compressed one, length. */
function uncompressed(bytes: Buffer): number {
  let at = 2 + bytes.readUInt16BE(0)
  const options = bytes.readInt32BE(at)
  at += 4
  for (let i = 0; i < 2 * options; i++) at += 2 + bytes.readUInt16BE(at)
  return Number(bytes.readBigInt64BE(at + 8))
}
