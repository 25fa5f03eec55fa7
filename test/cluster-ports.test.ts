/** Bus and leases keep their contracts, within one process and on a real Redis. */
import { after } from 'node:test'
import { Hub } from '../storage/memory/hub.ts'
import { openRedis } from '../storage/redis/open.ts'
import { busContract } from './contracts/bus.ts'
import type { ClusterEngine } from './contracts/cluster.ts'
import { leasesContract } from './contracts/leases.ts'
import { RedisServer, startCluster } from './support/redis.ts'
import { absent } from './support/server.ts'

// Made once: a Cluster takes seconds to agree.
let cluster: Promise<{ url: string }> | undefined
after(() => cluster?.then(() => Promise.all(endings.map(end => end()))))
const endings: (() => Promise<void>)[] = []
let made = 0

const skip = await absent('redis-server')
const LIFE_MS = 600

const ENGINES: ClusterEngine[] = [
  {
    name: 'memory',
    skip: false,
    async make() {
      const hub = new Hub()
      return { join: async node => hub.join(node) }
    },
  },
  {
    name: 'redis',
    skip,
    async make(t) {
      const { url } = await RedisServer.start(t)
      return { join: node => openRedis({ url, node, lifeMs: LIFE_MS }) }
    },
  },
  {
    name: 'redis cluster',
    skip,
    async make() {
      cluster ??= startCluster({ after: end => endings.push(end) })
      const { url } = await cluster
      const prefix = `im${++made}:`
      return { join: node => openRedis({ url, node, prefix, lifeMs: LIFE_MS }) }
    },
  },
]

for (const engine of ENGINES) {
  busContract(engine)
  leasesContract(engine)
}
