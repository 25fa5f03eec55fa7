/** How connections to Redis are made. All of them fail at once while it is away, and none keeps what it could not send. */
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import type { Address, HostPort } from './url.ts'

/** For an answer, and for a connection. A server that is silent for so long after being asked is cut off. */
export const PATIENCE_MS = 1_000

/** 50 ms, doubled with every attempt up to 5 s, less up to a half by chance, so that nodes do not come back as one. */
export function backoffMs(attempt: number): number {
  return Math.min(5_000, 50 * 2 ** Math.min(attempt, 10)) * (1 - Math.random() / 2)
}

const COMMON = {
  lazyConnect: true,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: 0,
  connectTimeout: PATIENCE_MS,
  socketTimeout: PATIENCE_MS,
  keepAlive: 10_000,
  disableClientInfo: true,
} satisfies RedisOptions

const access = ({ username, password, tls }: Address): RedisOptions => ({
  ...(username !== undefined && { username }),
  ...(password !== undefined && { password }),
  ...(tls && { tls: {} }),
})

function sentinel(address: Address & { kind: 'sentinel' }): RedisOptions {
  const { sentinels, sentinelPassword, name, database, tls } = address
  return {
    sentinels,
    name,
    db: database,
    // TLS of what they watch, and their own.
    enableTLSForSentinelMode: tls,
    ...(tls && { sentinelTLS: {} }),
    ...(sentinelPassword !== undefined && { sentinelPassword }),
    failoverDetector: true,
    sentinelMaxConnections: 3,
    sentinelCommandTimeout: PATIENCE_MS,
    // A former master that came back as a replica refuses writes: the Sentinels know the new one.
    reconnectOnError: error => error.message.startsWith('READONLY'),
  }
}

/** One connection to one server, made by `connect` and never made again. `to` is for a Cluster: which of its nodes. */
export function dialOnce(address: Address, connectionName: string, to?: HostPort): Redis {
  const once = { ...COMMON, ...access(address), connectionName, retryStrategy: () => null }
  if (address.kind === 'sentinel')
    return new Redis({ ...once, ...sentinel(address), sentinelRetryStrategy: () => null })
  if (address.kind === 'alone') {
    const { host, port, database } = address
    return new Redis({ ...once, host, port, db: database })
  }
  return new Redis({ ...once, ...(to ?? address.seeds[0]) })
}

/** What commands go to: comes back by itself, without end. Commands of one turn of the event loop go out together. */
export function dialCommands(address: Address, connectionName: string): Redis | Cluster {
  const lasting = { ...COMMON, ...access(address), connectionName, enableAutoPipelining: true }
  if (address.kind === 'alone') {
    const { host, port, database } = address
    return new Redis({ ...lasting, host, port, db: database, retryStrategy: backoffMs })
  }
  if (address.kind === 'sentinel')
    return new Redis({
      ...lasting,
      ...sentinel(address),
      retryStrategy: backoffMs,
      sentinelRetryStrategy: backoffMs,
    })
  const { enableOfflineQueue: _, ...redisOptions } = lasting
  return new Cluster(address.seeds, {
    lazyConnect: true,
    enableOfflineQueue: false,
    enableAutoPipelining: true,
    clusterRetryStrategy: backoffMs,
    clusterNodeRetryStrategy: backoffMs,
    maxRedirections: 4,
    slotsRefreshTimeout: PATIENCE_MS,
    slotsRefreshInterval: 5_000,
    redisOptions,
  })
}
