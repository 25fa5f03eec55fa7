/** The driver as this engine uses it: prepared statements, conditional batches, bounded reads at once, errors as faults. */
import { auth, Client, errors, type Host, policies, types } from 'cassandra-driver'
import { Fault } from '../../protocol/faults.ts'
import { closeFirst, mend } from './driver.ts'
import { type HostFigures, watchHosts } from './hosts.ts'

export interface RingOptions {
  /** `host` or `host:port`. */
  hosts: readonly string[]
  datacenter: string
  keyspace: string
  /** `local-quorum`: one datacenter writes an app. `quorum`: all of them do, and every write asks all of them. */
  consistency: 'local-quorum' | 'quorum'
  user?: string | undefined
  password?: string | undefined
  /** PEM of the authority that signed the nodes' certificates; TLS with it. */
  ca?: string | undefined
  /** How long an answer is waited for, 5 s. */
  answerMs?: number | undefined
}
export type Value = string | number | null | readonly string[] | readonly number[]
export type Statement = readonly [query: string, values: readonly Value[]]
export type Row = Record<string, unknown>

/** What became of a conditional batch; `unknown` is to be looked up before anyone is answered. */
export type Outcome = 'applied' | 'refused' | 'unknown'

/** An attempt that failed may have been decided all the same; the next would then be refused, as if another had been first. */
const NEVER = new policies.retry.FallthroughRetryPolicy()
/** The types do not know that there may be none. */
const NO_CLOCK = null as unknown as policies.timestampGeneration.TimestampGenerator
/** Reads under way at once, of one call. */
const AT_ONCE = 64
const ANSWER_MS = 5_000
/** What each statement of a conditional batch adds to it; one may have 20,000. */
const STATEMENT_MS = 1
/** Of a page of everything. */
const SCAN_MS = 30_000
const CONNECT_MS = 5_000
/** A line that is idle for so many times as long as an answer may take is asked whether it is there. */
const HEARTBEAT = 6
/** What may be repeated is, for so long: the driver connects again after a fifth of a second. */
const PATIENCE_MS = 2_000
const PAUSE_MS = 50
const SCHEMA_MS = 60_000
/** For the nodes to be of one schema; one that is down may be of another. */
const AGREE_MS = 5_000
const CQL_PORT = 9042

/** The cause stays in the server's log. */
export const unavailable = (cause: unknown) =>
  cause instanceof Fault ? cause : new Fault('log-unavailable', {}, { cause })

export class Ring {
  readonly #client: Client
  readonly #datacenter: string
  readonly #consistency: number
  readonly #serial: number
  readonly #answerMs: number

  private constructor(client: Client, datacenter: string, local: boolean, answerMs: number) {
    this.#datacenter = datacenter
    this.#answerMs = answerMs
    const { consistencies } = types
    this.#client = client
    this.#consistency = local ? consistencies.localQuorum : consistencies.quorum
    this.#serial = local ? consistencies.localSerial : consistencies.serial
  }

  /** Without a keyspace: for what is above all of them. @throws Error: no node answers, or it refuses. */
  static async connect(options: Omit<RingOptions, 'keyspace'>, keyspace?: string): Promise<Ring> {
    const { hosts, datacenter, user, password, ca, consistency, answerMs = ANSWER_MS } = options
    const client = new Client({
      contactPoints: [...hosts],
      localDataCenter: datacenter,
      // Of the nodes that the first ones tell of.
      protocolOptions: { port: portOf(hosts) },
      ...(keyspace !== undefined && { keyspace }),
      ...(user !== undefined && { authProvider: new auth.PlainTextAuthProvider(user, password ?? '') }),
      ...(ca !== undefined && { sslOptions: { ca: [ca], rejectUnauthorized: true } }),
      pooling: { heartBeatInterval: answerMs * HEARTBEAT },
      socketOptions: { readTimeout: answerMs, connectTimeout: CONNECT_MS, keepAlive: true },
      policies: {
        // Every write has its own time, or that of the node which decides it: none that depends on the clock here.
        timestampGeneration: NO_CLOCK,
        reconnection: new policies.reconnection.ExponentialReconnectionPolicy(200, 5_000, true),
      },
      queryOptions: { prepare: true },
    })
    try {
      await client.connect()
    } catch (cause) {
      await client.shutdown().catch(() => {})
      closeFirst(client)
      throw cause
    }
    mend(client)
    return new Ring(client, datacenter, consistency === 'local-quorum', answerMs)
  }

  /** The same connections, deciding with all datacenters: for what servers of each must agree on. */
  everywhere(): Ring {
    return new Ring(this.#client, this.#datacenter, false, this.#answerMs)
  }

  /** @throws Fault `log-unavailable` */
  async read(query: string, values: readonly Value[]): Promise<Row[]> {
    return this.#rows(query, values, this.#consistency)
  }

  /** A page after the other, in the order of tokens and keys: nothing but a page is held. @throws Fault `log-unavailable` */
  async *pages(query: string, values: readonly Value[], size: number): AsyncGenerator<Row[]> {
    const options = { prepare: true, consistency: this.#consistency, isIdempotent: true, fetchSize: size }
    for (let pageState: string | undefined, first = true; first || pageState; first = false) {
      const more = { ...options, readTimeout: SCAN_MS, ...(pageState !== undefined && { pageState }) }
      const result = await this.#client.execute(query, [...values], more).catch(cause => {
        throw unavailable(cause)
      })
      yield result.rows as unknown as Row[]
      pageState = result.pageState
    }
  }

  /** Ends what is under way in the partition, as applied or as never to be; then reads. @throws Fault `log-unavailable` */
  async readSerial(query: string, values: readonly Value[], withinMs?: number): Promise<Row[]> {
    return this.#rows(query, values, this.#serial, withinMs)
  }

  /** For each item, a bounded number at once; in their order. The first failure is thrown when all that began have ended. */
  async each<Item, Result>(items: readonly Item[], work: (item: Item) => Promise<Result>): Promise<Result[]> {
    const results: Result[] = []
    let next = 0
    const runner = async () => {
      while (next < items.length) {
        const at = next++
        results[at] = await work(items[at] as Item)
      }
    }
    const runners = Array.from({ length: Math.min(AT_ONCE, items.length) }, runner)
    const ended = await Promise.allSettled(runners)
    const failed = ended.find(end => end.status === 'rejected')
    if (failed) throw failed.reason
    return results
  }

  /** Statements of one partition that may be repeated, as one mutation. @throws Fault `log-unavailable` */
  async write(statements: readonly Statement[]): Promise<void> {
    const queries = statements.map(([query, params]) => ({ query, params: [...params] }))
    const options = { prepare: true, logged: false, consistency: this.#consistency, isIdempotent: true }
    await patiently(() => this.#client.batch(queries, options), isUnanswered).catch(thrown)
  }

  /** Statements of one partition, all if every condition holds, or none. */
  async compareAndSet(statements: readonly Statement[]): Promise<{ outcome: Outcome; cause?: unknown }> {
    const queries = statements.map(([query, params]) => ({ query, params: [...params] }))
    const options = { prepare: true, logged: true, consistency: this.#consistency, serialConsistency: this.#serial }
    const readTimeout = this.#answerMs + statements.length * STATEMENT_MS
    try {
      const call = () => this.#client.batch(queries, { ...options, readTimeout, isIdempotent: false, retry: NEVER })
      const { rows } = await patiently(call, isUnsent)
      return { outcome: rows[0]?.['[applied]'] === true ? 'applied' : 'refused' }
    } catch (cause) {
      // Also where too few nodes are there: they may have gone while it was under way.
      return { outcome: 'unknown', cause }
    }
  }

  /** A statement that is asked once, of one node. */
  async command(query: string): Promise<Row[]> {
    const { rows } = await this.#client.execute(query, [], { prepare: false, readTimeout: SCHEMA_MS })
    return rows as unknown as Row[]
  }

  /**
   * A statement of a schema, which all nodes agree on before it is answered. Whoever sends one sends it to the same node, as long
   * as it is up: two that make the same table at once may make two of it. Resolves to the node that has carried it out.
   */
  async define(statement: string): Promise<string> {
    const [host] = this.#own().sort((a, b) => (a.address < b.address ? -1 : 1))
    const options = { prepare: false, readTimeout: SCHEMA_MS, ...(host && { host }) }
    const { info } = await this.#client.execute(statement, [], options)
    // The driver waits for that only where something was made, not where another made it just now.
    for (let waited = 0; waited < AGREE_MS && !(await this.#isAgreed()); waited += PAUSE_MS)
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
    return info.queriedHost
  }

  /** Nodes here that are up. */
  #own(): Host[] {
    return this.#client.hosts.values().filter(host => host.isUp() && host.datacenter === this.#datacenter)
  }

  /** Whether they are of one schema, as each says itself: of others it knows by gossip, a second late. */
  async #isAgreed(): Promise<boolean> {
    const query = 'SELECT schema_version FROM system.local'
    const ask = (host: Host) => this.#client.execute(query, [], { prepare: false, host })
    const asked = await Promise.allSettled(this.#own().map(ask))
    const said = asked.flatMap(one => (one.status === 'fulfilled' ? String(one.value.rows[0]?.schema_version) : []))
    return new Set(said).size <= 1
  }

  /** From now on what becomes of the nodes is counted. */
  hosts(): () => HostFigures[] {
    return watchHosts(this.#client)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.shutdown()
  }

  #rows(query: string, values: readonly Value[], consistency: number, withinMs?: number): Promise<Row[]> {
    const within = withinMs === undefined ? {} : { readTimeout: withinMs }
    const options = { prepare: true, consistency, isIdempotent: true, ...within }
    return patiently(async () => {
      const all: Row[] = []
      for await (const row of await this.#client.execute(query, [...values], options)) all.push(row as unknown as Row)
      return all
    }, isUnanswered).catch(thrown)
  }
}

function thrown(cause: unknown): never {
  throw unavailable(cause)
}

/** As long as what went wrong says that it may be tried again. @throws what it throws last */
async function patiently<Result>(work: () => Promise<Result>, again: (cause: unknown) => boolean): Promise<Result> {
  const end = performance.now() + PATIENCE_MS
  for (let ms = PAUSE_MS; ; ms *= 2) {
    try {
      return await work()
    } catch (cause) {
      if (performance.now() + ms > end || !again(cause)) throw cause
      await new Promise(resolve => setTimeout(resolve, ms))
    }
  }
}
/** What a node has answered, it would again. */
const isUnanswered = (cause: unknown): boolean => !(cause instanceof errors.ResponseError)
/** No node was there to send it to. */
function isUnsent(cause: unknown): boolean {
  if (!(cause instanceof errors.NoHostAvailableError)) return isNoLine(cause)
  return Object.values(cause.innerErrors ?? {}).every(isNoLine)
}
const isNoLine = (cause: unknown): boolean => cause instanceof Error && cause.message === 'No connection available'

function portOf([first = '']: readonly string[]): number {
  const [, port] = /:(\d+)$/.exec(first) ?? []
  return Number(port ?? CQL_PORT)
}
