/** What the servers of a test cluster share: a keyspace of the Cassandra that CASSANDRA names, and a Redis. */
import { randomBytes } from 'node:crypto'
import { Ring, type Row } from '../../storage/cassandra/ring.ts'
import type { Ends } from './ends.ts'
import { RedisServer } from './redis.ts'

export class TestCluster {
  readonly #t: Ends
  readonly #count: number
  readonly #hosts: string
  readonly keyspace = `t${randomBytes(6).toString('hex')}`
  #redis: Promise<RedisServer> | undefined

  constructor(t: Ends, count: number, hosts: string) {
    this.#t = t
    this.#count = count
    this.#hosts = hosts
  }

  get redis(): Promise<RedisServer> {
    this.#redis ??= RedisServer.start(this.#t)
    return this.#redis
  }

  /** Of each server; `redis`: the URL of another one. */
  async settings(redis?: string): Promise<Record<string, string>[]> {
    const redisUrl = redis ?? (await this.redis).url
    return Array.from({ length: this.#count }, (_, nth) => ({
      IM_STORAGE: 'cassandra',
      IM_CASSANDRA_HOSTS: this.#hosts,
      IM_CASSANDRA_KEYSPACE: this.keyspace,
      IM_CASSANDRA_REPLICATION: '1',
      IM_REDIS_URL: redisUrl,
      IM_NODE: `n${nth + 1}`,
    }))
  }

  /** Past the servers. */
  async ask(query: string): Promise<Row[]> {
    await using ring = await Ring.connect({
      hosts: this.#hosts.split(','),
      datacenter: 'datacenter1',
      consistency: 'local-quorum',
    })
    return await ring.command(query)
  }

  async remove(): Promise<void> {
    await this.ask(`DROP KEYSPACE IF EXISTS ${this.keyspace}`)
  }
}
