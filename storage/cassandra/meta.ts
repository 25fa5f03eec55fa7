/** What shapes the data, kept with it: servers that differ from it would number, or decide, beside the others. */
import { CannotOpen } from '../level/meta.ts'
import type { Ring, RingOptions, Row } from './ring.ts'

export interface Shape extends Pick<RingOptions, 'consistency' | 'datacenter' | 'keyspace'> {
  bucketSize: number
}

export const LOOK = 'SELECT bucket_size, consistency, datacenter FROM settings WHERE id = 1'

/** The first server writes it. `ring`: that of all datacenters. @throws CannotOpen: ours is another · Fault `log-unavailable` */
export async function agree(ring: Ring, ours: Shape): Promise<void> {
  const { bucketSize, consistency, datacenter } = ours
  let [there] = await ring.read(LOOK, [])
  if (!there) {
    const set = 'INSERT INTO settings (id, bucket_size, consistency, datacenter) VALUES (1, ?, ?, ?) IF NOT EXISTS'
    await ring.compareAndSet([[set, [bucketSize, consistency, datacenter]]])
    there = (await ring.readSerial(LOOK, []))[0]
  }
  if (there) mustBeSame(there, ours)
  else throw new CannotOpen(`The keyspace ${ours.keyspace} could not be written to.`)
}

/** @throws CannotOpen */
export function mustBeSame(there: Row, { bucketSize, consistency, datacenter, keyspace }: Shape): void {
  if (there.bucket_size !== bucketSize)
    throw new CannotOpen(
      `The keyspace ${keyspace} has ${there.bucket_size} entries in a bucket for ever, as positions are found by it: set IM_CASSANDRA_BUCKET=${there.bucket_size}.`,
    )
  if (there.consistency !== consistency)
    throw new CannotOpen(
      `The keyspace ${keyspace} is written with ${there.consistency}, and servers of both kinds would not see each other's writes: set IM_CASSANDRA_CONSISTENCY=${there.consistency}. To change it, ${howToChange(keyspace, 'consistency', consistency)}.`,
    )
  if (consistency === 'local-quorum' && there.datacenter !== datacenter)
    throw new CannotOpen(
      `The keyspace ${keyspace} is written with local-quorum in the datacenter ${there.datacenter} alone: set IM_CASSANDRA_DATACENTER=${there.datacenter}. To move it, ${howToChange(keyspace, 'datacenter', datacenter)}.`,
    )
}

/** What a decision is made by may change only while none is under way. */
const howToChange = (keyspace: string, column: string, value: string) =>
  `stop every server, run \`nodetool repair --full ${keyspace}\` on every node, then UPDATE ${keyspace}.settings SET ${column} = '${value}' WHERE id = 1`
