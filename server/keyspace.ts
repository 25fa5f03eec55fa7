/** What a cluster shares, as the settings name it: for the server, and for commands. */
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

/** Undefined: there is but one server. */
export const redisAccess = ({ redisUrl: url, redisPasswordFile, redisSentinelPasswordFile }: Config) =>
  url === undefined
    ? undefined
    : { url, passwordFile: redisPasswordFile, sentinelPasswordFile: redisSentinelPasswordFile }
