/** What tools do with a keyspace: read everything, or fill an empty one. */
import type { Archive, Restoration } from '../archive.ts'
import { CassandraArchive } from './archive.ts'
import { Claim, mustBeFinished } from './claim.ts'
import { Filling } from './filling.ts'
import { type CassandraNeeds, connected, partsOf, pause } from './open.ts'
import { CassandraRestoration } from './restoration.ts'

export function withArchive<T>(needs: CassandraNeeds, use: (archive: Archive) => Promise<T>): Promise<T> {
  return connected({ ...needs, existing: true }, async ring => {
    await mustBeFinished(ring.everywhere(), needs.keyspace)
    return partsOf(ring, needs)
  }).then(async ({ log, records, close }) => {
    try {
      return await use(new CassandraArchive(log, records))
    } finally {
      await close()
    }
  })
}

/** `tables`: those that are spread or have indexes. @throws CannotOpen: it has data */
export function openRestoration(needs: CassandraNeeds): Promise<Restoration> {
  return connected(needs, async ring => {
    const claim = await Claim.take(ring.everywhere(), needs.keyspace)
    const { log, records, ends, close } = partsOf(ring, needs)
    return new CassandraRestoration({
      ring,
      claim,
      filling: new Filling(ends, needs.tables),
      archive: new CassandraArchive(log, records),
      pause,
      close,
    })
  })
}
