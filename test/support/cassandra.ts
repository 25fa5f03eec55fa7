/** Real Cassandra nodes, on 127.0.0.1, .2 and .3; its jars come from Maven, or from the installation CASSANDRA_HOME names. */
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { commandOf, configOf, install, RECIPE } from './cassandra/java.ts'
import { bound, type Ends, finish, freePorts } from './ends.ts'

const READY_MS = 240_000

export interface RingOptions {
  /** 1, as long as nothing else is said. */
  nodes?: 1 | 2 | 3
  heapMiB?: number
  /** Kept at the end, and gone on with at the next start; otherwise one that is removed. */
  directory?: string
  /** Further options of Java. */
  java?: readonly string[]
}

/** What stays the same when a ring is started again: nodes know each other by address and port. */
interface Shape {
  nodes: number
  port: number
  storagePort: number
}

export class CassandraNodes {
  readonly directory: string
  readonly #options: RingOptions
  readonly #shape: Shape
  readonly #jars: string
  readonly #processes = new Map<number, ChildProcess>()
  readonly #paused = new Set<number>()

  private constructor(directory: string, options: RingOptions, shape: Shape, jars: string) {
    this.directory = directory
    this.#options = options
    this.#shape = shape
    this.#jars = jars
  }

  /** Nodes that answer CQL and see each other, until the test ends. @throws Error: what is missing, or why a node ended. */
  static async start(t: Ends, options: RingOptions = {}): Promise<CassandraNodes> {
    const jars = install()
    const { directory = mkdtempSync(join(tmpdir(), 'im-cassandra-')), nodes = 1 } = options
    const ring = new CassandraNodes(directory, options, await shapeOf(directory, nodes), jars)
    t.after(async () => {
      await ring.stop(options.directory === undefined ? 'SIGKILL' : 'SIGTERM')
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true })
    })
    await Promise.all(ring.numbers.map(i => ring.#launch(i)))
    await ring.#agree()
    return ring
  }

  /** 1, 2, 3: node i is 127.0.0.i. */
  get numbers(): number[] {
    return Array.from({ length: this.#shape.nodes }, (_, i) => i + 1)
  }
  /** For IM_CASSANDRA_HOSTS. */
  get hosts(): string[] {
    return this.numbers.map(i => this.#host(i))
  }
  get port(): number {
    return this.#shape.port
  }
  log(i: number): string {
    return join(this.directory, `node${i}`, 'log')
  }
  /** Whether node i carried the statement out, with that many replicas. */
  ask(i: number, statement: string, replicas: Replicas = 1): Promise<boolean> {
    return ask(`127.0.0.${i}`, this.port, statement, replicas)
  }
  pid(i: number): number | undefined {
    return this.#runs(i) ? this.#processes.get(i)?.pid : undefined
  }

  /** kill -9. */
  async kill(i: number): Promise<void> {
    this.#paused.delete(i)
    await finish(this.#processes.get(i), 'SIGKILL')
  }
  /** After `kill`, with the data it had; resolves when it and the others that run are one ring again. */
  async start(i: number): Promise<void> {
    assert.ok(!this.#runs(i), `node ${i} runs`)
    await this.#launch(i)
    await this.#agree()
  }
  /** It answers nothing, and connections to it hang. */
  pause(i: number): void {
    this.#paused.add(i)
    this.#processes.get(i)?.kill('SIGSTOP')
  }
  resume(i: number): void {
    this.#paused.delete(i)
    this.#processes.get(i)?.kill('SIGCONT')
  }
  /** All nodes; the data stays. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await Promise.all(this.numbers.map(i => finish(this.#processes.get(i), signal)))
    this.#paused.clear()
  }

  #host(i: number): string {
    return `127.0.0.${i}:${this.port}`
  }
  #runs(i: number): boolean {
    const child = this.#processes.get(i)
    return child !== undefined && child.exitCode === null && child.signalCode === null
  }

  async #launch(i: number): Promise<void> {
    const { java = [], heapMiB = 512 } = this.#options
    const home = join(this.directory, `node${i}`)
    mkdirSync(home, { recursive: true })
    writeFileSync(join(home, 'cassandra.yaml'), this.#yaml(i))
    const log = openSync(this.log(i), 'a')
    const options = [`-Xmx${heapMiB}m`, `-Dcassandra.storagedir=${home}`, ...java]
    const [program, args] = commandOf(this.#jars, join(home, 'cassandra.yaml'), options)
    const child = bound(program, args, { stdio: ['ignore', log, log] })
    closeSync(log)
    this.#processes.set(i, child)
    const failed = new Promise<void>((_, reject) => child.on('error', reject))
    await Promise.race([
      failed,
      this.#until(i, `node ${i} of Cassandra answers`, () => this.ask(i, 'SELECT key FROM system.local')),
    ])
  }

  #yaml(i: number): string {
    const { nodes, port, storagePort } = this.#shape
    const step = 2n ** 64n / BigInt(nodes)
    const values: Record<string, string | number> = {
      ADDRESS: `127.0.0.${i}`,
      SEEDS: this.numbers.map(n => `127.0.0.${n}:${storagePort}`).join(','),
      PORT: port,
      STORAGE_PORT: storagePort,
      TOKEN: String(1n - 2n ** 63n + BigInt(i - 1) * step),
    }
    const template = readFileSync(join(RECIPE, 'cassandra.yaml'), 'utf8')
    return configOf(template).replace(/@([A-Z_]+)@/g, (_, name: string) => String(values[name]))
  }

  /** Each node that runs finds, for a read, as many replicas as run. */
  async #agree(): Promise<void> {
    if (this.numbers.length === 1) return
    const up = this.numbers.filter(i => this.#runs(i) && !this.#paused.has(i))
    const table = this.numbers.length === 2 ? 'system_traces.sessions' : 'system_distributed.view_build_status'
    await Promise.all(
      up.map(i =>
        this.#until(i, `node ${i} of Cassandra sees ${up.length} nodes`, () =>
          this.ask(i, `SELECT * FROM ${table} LIMIT 1`, up.length as Replicas),
        ),
      ),
    )
  }

  async #until(i: number, what: string, holds: () => Promise<boolean>): Promise<void> {
    const end = performance.now() + READY_MS
    while (!(await holds())) {
      const tail = () => readFileSync(this.log(i), 'utf8').trim().split('\n').slice(-8).join('\n')
      if (!this.#runs(i)) throw new Error(`Node ${i} of Cassandra ended. The end of ${this.log(i)}:\n${tail()}`)
      if (performance.now() > end) throw new Error(`Not within ${READY_MS / 1000} s: ${what}. See ${this.log(i)}`)
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
}

async function shapeOf(directory: string, nodes: number): Promise<Shape> {
  const file = join(directory, 'ring.json')
  if (existsSync(file)) {
    const shape = JSON.parse(readFileSync(file, 'utf8')) as Shape
    if (shape.nodes === nodes) return shape
    throw new Error(`${directory} holds a ring of ${shape.nodes}, not of ${nodes}: name another directory.`)
  }
  const [port = 0, storagePort = 0] = await freePorts(2)
  mkdirSync(directory, { recursive: true })
  writeFileSync(file, JSON.stringify({ nodes, port, storagePort }))
  return { nodes, port, storagePort }
}

/** How many replicas have to answer. */
type Replicas = 1 | 2 | 3

/**
 * One statement to this node and no other, with nothing tried again: whether it was carried out. A driver would ask the other
 * nodes, and connect again when it likes.
 */
function ask(address: string, port: number, statement: string, replicas: Replicas): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, address)
    const answer = (yes: boolean) => {
      socket.destroy()
      resolve(yes)
    }
    socket.setTimeout(12_000, () => answer(false))
    socket.on('error', () => answer(false)).on('close', () => answer(false))
    const text = Buffer.from(statement)
    const query = Buffer.alloc(4 + text.length + 3)
    query.writeUInt32BE(text.length)
    text.copy(query, 4)
    query.writeUInt16BE(replicas, 4 + text.length)
    socket.write(frame(STARTUP, Buffer.from('\0\x01\0\x0bCQL_VERSION\0\x053.0.0', 'latin1')))
    // Both answers are short, and begin with what they are.
    socket.on('data', bytes => {
      if (bytes[4] === READY) socket.write(frame(QUERY, query))
      else answer(bytes[4] === RESULT)
    })
  })
}

const [READY, STARTUP, QUERY, RESULT] = [2, 1, 7, 8]
/** Version 4 of CQL's protocol. */
function frame(opcode: number, body: Buffer): Buffer {
  const head = Buffer.from([4, 0, 0, 0, opcode, 0, 0, 0, 0])
  head.writeUInt32BE(body.length, 5)
  return Buffer.concat([head, body])
}
