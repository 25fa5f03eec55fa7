/** Where everything is, by the settings of the server, as commands that work on its data need it. */
import { resolve } from 'node:path'
import {
  type Archive,
  openClusterRestoration,
  openRestoration,
  type Restoration,
  withArchive,
  withClusterArchive,
} from '../../storage/open.ts'
import { type Config, readConfig } from '../config.ts'
import { keyspace } from '../keyspace.ts'
import { INDEXED } from '../stored.ts'
import { CannotDo } from './trouble.ts'

/** What is kept, and where, whatever the engine. */
export interface Kept {
  /** As an operator names it. */
  name: string
  /** That of the embedded engine; absent in a cluster, which is of no single moment while servers write. */
  directory?: string
  archived<T>(use: (archive: Archive) => Promise<T>): Promise<T>
  /** To be filled, where nothing is. */
  restoration(): Promise<Restoration>
  /** How an import that is not finished is given up. */
  giveUp: string
}

/** @throws CannotDo: nothing is kept · ConfigError */
export function kept(): Kept {
  const config = readConfig()
  if (config.storage === 'memory') throw new CannotDo(`IM_STORAGE=${config.storage} keeps nothing.`)
  return config.storage === 'cassandra' ? inKeyspace(config) : inDirectory(resolve(config.dataDirectory))
}

const inDirectory = (directory: string): Kept => ({
  name: directory,
  directory,
  archived: use => withArchive(directory, use),
  restoration: () => openRestoration(directory, INDEXED),
  giveUp: 'remove level.import in the data directory',
})

const inKeyspace = (config: Config): Kept => ({
  name: `the keyspace ${config.cassandraKeyspace}`,
  archived: use => withClusterArchive(keyspace(config), use),
  restoration: () => openClusterRestoration(keyspace(config)),
  giveUp: `drop the keyspace ${config.cassandraKeyspace}`,
})
