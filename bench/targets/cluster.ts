/** Servers on one Cassandra and one Redis, which are started for the run and shared by its workloads; each has a keyspace. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PLACED } from '../../server/stored.ts'
import { Ring } from '../../storage/cassandra/ring.ts'
import { CassandraNodes } from '../../test/support/cassandra.ts'
import { Ending } from '../../test/support/ends.ts'
import { RedisServer } from '../../test/support/redis.ts'
import { confine, cpuMs, trafficBytes } from '../machine.ts'
import { type Size, sizeOf } from './disk.ts'
import { seed } from './seed.ts'
import { metricsOf, type Server, speaking, startOne } from './server.ts'
import { type Counts, type Options, range, type Scene, serverOf, type Target } from './target.ts'

/** As one that serves, not as one that a test starts and forgets: with the second compiler, and room. */
const JAVA = ['-XX:TieredStopAtLevel=4']
const HEAP_MIB = 2048
/** Threads of Java that work most in the first minutes, and not at all in a Cassandra that has run for a day. */
const COMPILERS = /^C[12] Compiler/
const DATACENTER = 'datacenter1'

interface Wanted extends Options {
  nodes: number
  cores: number | undefined
}

export class Ground {
  readonly #ending: Ending
  readonly #directory: string
  readonly #cassandra: CassandraNodes
  readonly #redis: RedisServer
  readonly #entries = new Map<string, number>()

  private constructor(ending: Ending, directory: string, cassandra: CassandraNodes, redis: RedisServer) {
    this.#ending = ending
    this.#directory = directory
    this.#cassandra = cassandra
    this.#redis = redis
  }

  /** `nodes` of Cassandra: what is written has a copy on each. */
  static async start(nodes: 1 | 2 | 3): Promise<Ground> {
    const ending = new Ending()
    const directory = mkdtempSync(join(tmpdir(), 'bench-cluster-'))
    ending.after(async () => rmSync(directory, { recursive: true, force: true }))
    const redis = await RedisServer.start(ending)
    const ring = { nodes, heapMiB: HEAP_MIB, java: JAVA, directory: join(directory, 'cassandra') }
    return new Ground(ending, directory, await CassandraNodes.start(ending, ring), redis)
  }

  /** A cluster of its own keyspace, with everything in Redis forgotten. */
  async cluster(name: string, scene: Scene, options: Wanted, nodeArgs: string[] = []): Promise<Target> {
    await this.#redis.ask('FLUSHALL')
    const keys = await seed({ engine: 'cassandra', ...this.#storage(name), clock: Date }, scene, options)
    const servers: Server[] = []
    // One after the other: nobody waits for another's look at the schema. Only the first one is profiled.
    for (const nth of range(options.nodes))
      servers.push(await startOne(this.#settings(name, nth), nth === 0 ? nodeArgs : [], false))
    const { cores } = options
    const free = cores === undefined ? undefined : confine(servers, cores)
    const [first] = servers as [Server]
    return {
      name: 'cluster',
      pids: servers.map(({ pid }) => pid),
      mqttPort: person => (servers[serverOf(person, servers.length)] as Server).mqtt,
      httpPort: first.http,
      startedMs: first.startedMs,
      ...speaking(keys),
      metrics: () => metricsOf(first),
      counts: () => this.#counts(servers),
      redisBytes: () => this.#redis.info('used_memory'),
      stop: async () => {
        // A server that does not get its sessions written in time says so, and has measured all the same.
        await Promise.allSettled(servers.map(server => server.stop()))
        free?.()
        this.#entries.set(name, await this.#entriesOf(name))
      },
    }
  }

  /** Ends all, and tells what lies on disk for an entry: Cassandra writes out what it holds when it is told to end. */
  async end(): Promise<Record<string, Size>> {
    await this.#cassandra.stop('SIGTERM')
    const data = join(this.#directory, 'cassandra', 'node1', 'data')
    const sizes = Object.fromEntries(
      [...this.#entries].map(([name, entries]) => [name, sizeOf(join(data, keyspaceOf(name)), entries)]),
    )
    await this.#ending.end()
    return sizes
  }

  #storage(name: string) {
    return {
      hosts: this.#cassandra.hosts,
      datacenter: DATACENTER,
      keyspace: keyspaceOf(name),
      replication: this.#cassandra.numbers.length,
      consistency: 'local-quorum' as const,
      bucketSize: 10_000,
      random: { bytes: randomBytes },
      tables: PLACED,
    }
  }

  #settings(name: string, nth: number): Record<string, string> {
    return {
      IM_STORAGE: 'cassandra',
      IM_CASSANDRA_HOSTS: this.#cassandra.hosts.join(','),
      IM_CASSANDRA_KEYSPACE: keyspaceOf(name),
      IM_REDIS_URL: this.#redis.url,
      IM_NODE: `n${nth + 1}`,
      IM_DATA_DIR: join(this.#directory, name, `n${nth + 1}`),
    }
  }

  async #counts(servers: readonly Server[]): Promise<Counts> {
    const info = String(await this.#redis.ask('INFO'))
    const of = (field: string) => Number(new RegExp(`^${field}:(\\d+)`, 'm').exec(info)?.[1])
    const metrics = (await Promise.all(servers.map(metricsOf))).join('\n')
    const cassandra = this.#cassandra.numbers.map(i => this.#cassandra.pid(i) as number)
    const sum = (pids: readonly number[], of: (pid: number) => number) => pids.reduce((all, pid) => all + of(pid), 0)
    return {
      cassandra_cpu_us: sum(cassandra, pid => cpuMs(pid, COMPILERS)) * 1_000,
      cassandra_compiler_cpu_us: sum(cassandra, pid => cpuMs(pid) - cpuMs(pid, COMPILERS)) * 1_000,
      cassandra_written_bytes: sum(cassandra, writtenBytes),
      redis_cpu_us: cpuMs(of('process_id')) * 1_000,
      redis_commands: of('total_commands_processed'),
      redis_network_bytes: of('total_net_input_bytes') + of('total_net_output_bytes'),
      server_network_bytes: sum(
        servers.map(({ pid }) => pid),
        trafficBytes,
      ),
      client_network_bytes: trafficBytes(process.pid),
      batches: total(metrics, 'im_cassandra_batches_total'),
      batches_refused: total(metrics, 'im_cassandra_batches_total', 'refused'),
    }
  }

  /** Where every conversation ends, added up. */
  async #entriesOf(name: string): Promise<number> {
    const { hosts, datacenter, consistency, keyspace } = this.#storage(name)
    await using ring = await Ring.connect({ hosts, datacenter, consistency }, keyspace)
    const ends = new Map<string, number>()
    for await (const rows of ring.pages('SELECT DISTINCT conversation, bucket, tail FROM log', [], 1_000))
      for (const { conversation, tail } of rows)
        ends.set(String(conversation), Math.max(ends.get(String(conversation)) ?? 0, Number(tail)))
    return [...ends.values()].reduce((sum, end) => sum + end, 0)
  }
}

const keyspaceOf = (name: string) => `bench_${name}`

/** A metric of all servers, of all its label sets or those with a word. */
const total = (text: string, metric: string, word = ''): number =>
  [...text.matchAll(new RegExp(`^${metric}(\\{[^}]*\\})? (\\S+)$`, 'gm'))]
    .filter(([, labels = '']) => labels.includes(word))
    .reduce((sum, [, , value]) => sum + Number(value), 0)

/** What a process had written to disk, the write-ahead log included. */
const writtenBytes = (pid: number): number =>
  Number(/^write_bytes: (\d+)/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1])
