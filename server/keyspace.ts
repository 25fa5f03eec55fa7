/** The storage of a cluster as the settings name it: for the server, and for commands. */
import type { Config } from './config.ts'
import * as machine from './machine.ts'
import { PLACED } from './stored.ts'

export const keyspace = (config: Config) => ({
  hosts: config.cassandraHosts,
  datacenter: config.cassandraDatacenter,
  keyspace: config.cassandraKeyspace,
  replication: config.cassandraReplication,
  consistency: config.cassandraConsistency,
  bucketSize: config.cassandraBucket,
  user: config.cassandraUser,
  passwordFile: config.cassandraPasswordFile,
  caFile: config.cassandraCa,
  clock: machine.scheduler,
  random: machine.random,
  tables: PLACED,
})
