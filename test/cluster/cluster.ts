/** A whole cluster on loopback: n servers, Redis, Cassandra and nginx, each part at hand to be killed, stopped and started. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CassandraNodes } from '../support/cassandra.ts'
import { Ending, type Ends, freePorts } from '../support/ends.ts'
import { type Line, line } from '../support/line.ts'
import { BEHIND_NGINX, Nginx } from '../support/nginx.ts'
import { RedisServer } from '../support/redis.ts'
import { TestServer } from '../support/server.ts'

export interface ClusterOptions {
  /** Servers; 2 as long as nothing else is said. */
  nodes?: number
  /** Nodes of a ring of its own, 1 as long as nothing else is said; or a ring that runs, with a replica on each of its nodes. */
  cassandra?: 1 | 2 | 3 | CassandraNodes
  /**
   * The shipped nginx before the servers. They then take MQTT over TCP from it only, by the PROXY protocol; MQTT over WebSocket
   * and REST from anyone.
   */
  nginx?: boolean
  /** A line of its own between each server and Redis, to be cut or held. */
  lines?: boolean
  /** Kept at the end, and gone on with at the next start; otherwise one that is removed. */
  directory?: string
  /** Further settings of server `node`, from 1; they win. */
  environment?: (node: number) => Record<string, string>
  /** What servers are started from; this version, as long as nothing else is said. */
  program?: string
  /** Told of every line that a server logs, and of what is being started and is ready. */
  said?: (who: string, line: string) => void
}

export class LocalCluster {
  readonly directory: string
  readonly cassandra: CassandraNodes
  readonly redis: RedisServer
  /** Server n is `servers[n - 1]`; `kill`, `stop`, `start`, `pause` and `resume` are its own. */
  readonly servers: readonly TestServer[]
  /** From server n to Redis: `lines[n - 1]`. */
  readonly lines: readonly Line[]
  readonly nginx: Nginx | undefined

  private constructor(directory: string, parts: Omit<LocalCluster, 'directory' | 'ownerPasswordFile'>) {
    this.directory = directory
    this.cassandra = parts.cassandra
    this.redis = parts.redis
    this.servers = parts.servers
    this.lines = parts.lines
    this.nginx = parts.nginx
  }

  /** All of it runs and is ready, until the test ends. @throws Error: what is missing, or why a part ended. */
  static async start(t: Ends, options: ClusterOptions = {}): Promise<LocalCluster> {
    const ending = new Ending()
    t.after(() => ending.end())
    const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'im-cluster-'))
    mkdirSync(directory, { recursive: true })
    if (options.directory === undefined) ending.after(async () => rmSync(directory, { recursive: true, force: true }))
    const [cassandra, redis] = await settled([startCassandra(ending, directory, options), RedisServer.start(ending)])
    const count = options.nodes ?? 2
    const lines = options.lines ? await Promise.all(Array.from({ length: count }, () => line(ending, redis.port))) : []
    const servers = await makeServers(ending, directory, options, { cassandra, redis, lines })
    // The first makes the tables and the account of the owner.
    const [first, ...others] = servers.map((server, i) => () => told(options, `n${i + 1}`, server.start()))
    await first?.()
    await Promise.all(others.map(start => start()))
    const nginx = options.nginx
      ? await Nginx.make(
          ending,
          servers.map(({ ports }) => ports),
        )
      : undefined
    await nginx?.start()
    return new LocalCluster(directory, { cassandra, redis, servers, lines, nginx })
  }

  get ownerPasswordFile(): string {
    return join(this.directory, 'owner-password')
  }
}

/** That a part is being started, and when it is ready. */
async function told<Part>({ said }: ClusterOptions, who: string, starting: Promise<Part>): Promise<Part> {
  const startedAt = performance.now()
  said?.(who, 'is being started')
  const part = await starting
  said?.(who, `is ready after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
  return part
}

/** When one fails, what the others started is known to the ending before it is told. */
async function settled<A, B>([a, b]: [Promise<A>, Promise<B>]): Promise<[A, B]> {
  await Promise.allSettled([a, b])
  return [await a, await b]
}

async function startCassandra(ending: Ends, directory: string, options: ClusterOptions): Promise<CassandraNodes> {
  const { cassandra: nodes = 1 } = options
  if (nodes instanceof CassandraNodes) return nodes
  // A directory of its own where it is to be removed: all of it goes with the nodes.
  const kept = options.directory !== undefined && { directory: join(directory, 'cassandra') }
  return told(options, 'cassandra', CassandraNodes.start(ending, { nodes, ...kept }))
}

/** Each on ports that it keeps over its starts: nginx knows it by them. */
async function makeServers(
  ending: Ends,
  directory: string,
  { nodes = 2, nginx, environment, program, said }: ClusterOptions,
  { cassandra, redis, lines }: Pick<LocalCluster, 'cassandra' | 'redis' | 'lines'>,
): Promise<TestServer[]> {
  const ports = await freePorts(2 * nodes)
  const common = {
    ...(nginx && BEHIND_NGINX),
    IM_STORAGE: 'cassandra',
    IM_CASSANDRA_HOSTS: cassandra.hosts.join(','),
    IM_CASSANDRA_REPLICATION: `${cassandra.hosts.length}`,
    IM_OWNER_PASSWORD: ownerPassword(join(directory, 'owner-password')),
  }
  return Array.from({ length: nodes }, (_, i) => {
    const name = `n${i + 1}`
    const own = {
      IM_NODE: name,
      IM_REDIS_URL: `redis://127.0.0.1:${lines[i]?.port ?? redis.port}`,
      IM_MQTT_PORT: `${ports[2 * i]}`,
      IM_HTTP_PORT: `${ports[2 * i + 1]}`,
    }
    return TestServer.idle(
      ending,
      { ...common, ...own, ...environment?.(i + 1) },
      { dir: join(directory, name), program, said: said && (text => said(name, text)) },
    )
  })
}

/** The same for every server and every start, in a file for people. */
function ownerPassword(file: string): string {
  if (!existsSync(file)) writeFileSync(file, randomBytes(18).toString('base64url'), { mode: 0o600 })
  return readFileSync(file, 'utf8').trim()
}
