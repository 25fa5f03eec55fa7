/** The contracts of log and records, over every engine. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openRestoration, openStorage, withArchive } from '../storage/open.ts'
import { archiveContract } from './contracts/archive.ts'
import type { Engine } from './contracts/ground.ts'
import { storageContracts } from './contracts/storage.ts'

const ENGINES: Engine[] = [
  {
    name: 'level',
    keeps: true,
    alone: true,
    async make(t) {
      const directory = await mkdtemp(join(tmpdir(), 'storage-'))
      t.after(() => rm(directory, { recursive: true, force: true }))
      return { open: clock => openStorage({ engine: 'level', directory, fsync: false, lowWaterBytes: 0, clock }) }
    },
  },
  {
    name: 'memory',
    keeps: false,
    alone: true,
    async make() {
      return { open: clock => openStorage({ engine: 'memory', clock }) }
    },
  },
  {
    name: 'memory, observed',
    keeps: false,
    alone: true,
    async make() {
      return { open: clock => openStorage({ engine: 'memory', clock, observer: { asked() {} } }) }
    },
  },
]

for (const engine of ENGINES) storageContracts(engine)

archiveContract('level', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'storage-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return {
    name: 'level',
    keeps: true,
    alone: true,
    make: async () => ({
      open: clock => openStorage({ engine: 'level', directory, fsync: false, lowWaterBytes: 0, clock }),
    }),
    archived: use => withArchive(directory, use),
    restoration: tables => openRestoration(directory, tables),
  }
})
