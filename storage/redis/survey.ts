/** What there is to say of a cluster's Redis before a server starts. Changes nothing. */
import { dialOnce } from './dial.ts'
import { addressOf, type RedisAccess } from './open.ts'
import { type Address, type HostPort, shown } from './url.ts'

export interface RedisSurvey {
  /** Where it is, without secrets. */
  address: string
  version: string
  /** `master`: it takes writes. Of a Cluster: of the node that answered. */
  role: string
  /** What a Cluster says of itself: `ok`, or that some of it is missing. */
  state?: string
  /** For an answer. */
  ms: number
}

/** @throws Error, one sentence without secrets */
export async function surveyRedis(access: RedisAccess): Promise<RedisSurvey> {
  const address = await addressOf(access)
  if (address.kind !== 'cluster') return asked(address)
  let failed: unknown
  for (const seed of address.seeds) {
    try {
      return await asked(address, seed)
    } catch (cause) {
      failed = cause
    }
  }
  throw failed
}

async function asked(address: Address, to?: HostPort): Promise<RedisSurvey> {
  const redis = dialOnce(address, 'im-doctor', to)
  // What the client rejects with says less.
  let why: string | undefined
  redis.on('error', (error: Error) => {
    why = error.message
  })
  try {
    await redis.connect()
    const from = performance.now()
    await redis.ping()
    const ms = Math.round(performance.now() - from)
    const [role] = (await redis.role()) as [string]
    const [, version = 'unknown'] = /^redis_version:(\S+)/m.exec(await redis.info('server')) ?? []
    const found = { address: shown(address), version, role, ms }
    if (address.kind !== 'cluster') return found
    const [, state = 'unknown'] = /^cluster_state:(\S+)/m.exec(String(await redis.cluster('INFO'))) ?? []
    return { ...found, state }
  } catch (cause) {
    const says = why ?? (cause instanceof Error ? cause.message : String(cause))
    throw new Error(`${shown(address)} does not answer as it should: ${says.slice(0, 200).replace(/\.$/, '')}`, {
      cause,
    })
  } finally {
    redis.disconnect()
  }
}
