/** What nodes tell each other: by Redis, or within this process for a server alone. */
import type { Cluster } from '../core/ports.ts'
import { Hub } from './memory/hub.ts'
import type { Counters } from './redis/counters.ts'
import type { RedisFigures, RedisOptions } from './redis/open.ts'

export type OpenedCluster = Cluster & {
  /** Counts that all nodes share; absent where there is but one. */
  counters?: Counters
  /** What there is to tell of Redis; absent without. */
  figures?(): RedisFigures
}

/** @throws Error, one sentence without secrets: the URL or the password file cannot be gone by. */
export async function openCluster(
  options: Omit<RedisOptions, 'url'> & { url?: string | undefined },
): Promise<OpenedCluster> {
  const { url } = options
  if (url === undefined) return new Hub().join(options.node)
  // A server alone does without the client.
  const { openRedis } = await import('./redis/open.ts')
  return await openRedis({ ...options, url })
}
