/**
 * A real server process of a test. With NODES=2 and CASSANDRA, the hosts of one, each is so many servers that share a keyspace
 * and a Redis of their own, and every connection goes to the next of them: what holds on one server is then asked of a cluster.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { bound, type Ends, finish } from './ends.ts'
import { TestCluster } from './nodes.ts'
import { Person, type Ports, rest } from './person.ts'

/** This version of the server. */
export const PROGRAM = fileURLToPath(new URL('../../server/main.js', import.meta.url))

const NODES = Number(process.env.NODES ?? 1)

interface More {
  /** Its data directory, kept at the end; otherwise one that is removed. */
  dir?: string | undefined
  /** What is started; this version of the server, as long as nothing else is said. */
  program?: string | undefined
  /** Told of every line that it logs. */
  said?: ((line: string) => void) | undefined
}

export class TestServer {
  readonly dir: string
  readonly #env: Record<string, string>
  readonly #more: More
  readonly #cluster: TestCluster | undefined
  /** What is started, from the next start on. */
  program: string
  #processes: ChildProcess[] = []
  #ports: Ports[] = []
  #turn = 0
  /** What it logged. */
  log = ''

  private constructor(env: Record<string, string>, more: More, cluster: TestCluster | undefined) {
    this.#env = env
    this.#more = more
    this.#cluster = cluster
    this.program = more.program ?? PROGRAM
    this.dir = more.dir ?? mkdtempSync(join(tmpdir(), 'im-test-'))
  }

  /** Starts a server on an empty data directory, and ends it with the test. */
  static async start(t: Ends, env: Record<string, string> = {}): Promise<TestServer> {
    const server = TestServer.idle(t, env)
    await server.start()
    return server
  }

  /** One that is not started yet, on an empty data directory. */
  static idle(t: Ends, env: Record<string, string> = {}, more: More = {}): TestServer {
    const many = NODES > 1 && env.IM_STORAGE === undefined
    const cluster = many ? new TestCluster(t, NODES, process.env.CASSANDRA ?? '127.0.0.1:9042') : undefined
    const server = new TestServer(env, more, cluster)
    t.after(async () => {
      await (more.dir === undefined ? server.kill() : server.stop())
      await cluster?.remove()
      if (more.dir === undefined) rmSync(server.dir, { recursive: true, force: true })
    })
    return server
  }

  get pid(): number {
    return this.#processes[0]?.pid ?? 0
  }

  /** So many processes. */
  get size(): number {
    return this.#processes.length
  }

  /** Of a cluster, those of the next node. */
  get ports(): Ports {
    const { length } = this.#ports
    return this.#ports[length > 1 ? this.#turn++ % length : 0] ?? { http: 0, mqtt: 0 }
  }

  async start(): Promise<void> {
    const ends = await this.#cluster?.settings()
    this.#processes = []
    this.#ports = []
    // One after the other: the first makes the keyspace.
    for (const of of ends ?? [{}]) this.#ports.push(await this.#launch(of))
  }

  async #launch(of: Record<string, string>): Promise<Ports> {
    const standard = {
      IM_HTTP_PORT: '0',
      IM_MQTT_PORT: '0',
      IM_DATA_DIR: this.dir,
      IM_LOG_LEVEL: 'warn',
      IM_RATE_LIMITS: 'off',
    }
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('IM_')))
    const child = bound(process.execPath, [this.program], {
      env: { ...inherited, ...standard, ...this.#env, ...of },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#processes.push(child)
    const { stdout, stderr } = child
    assert.ok(stdout && stderr)
    stderr.on('data', (bytes: Buffer) => {
      this.log = (this.log + bytes).slice(-100_000)
    })
    const { said } = this.#more
    if (said) createInterface(stderr).on('line', said)
    const ended = once(child, 'exit').then(([code]) => assert.fail(`the server ended with ${code}: ${this.log}`))
    ended.catch(() => {})
    const [line] = (await Promise.race([once(createInterface(stdout), 'line'), ended])) as [string]
    return JSON.parse(line) as Ports
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }
  /** SIGTERM; resolves to the exit code. */
  async stop(): Promise<number | null> {
    return this.#end('SIGTERM')
  }
  /** It answers nothing, and connections to it hang. */
  pause(): void {
    this.signal('SIGSTOP')
  }
  resume(): void {
    this.signal('SIGCONT')
  }
  signal(signal: NodeJS.Signals): void {
    for (const child of this.#processes) child.kill(signal)
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const codes = await Promise.all(this.#processes.map(child => finish(child, signal)))
    return codes.find(code => code !== 0) ?? codes[0] ?? null
  }

  /** Registers a user with a personal key. */
  async register(user: string): Promise<Person> {
    const made = await rest(this, 'POST', '/v1/register', { user, password: `${user} has a password` })
    assert.equal(made.status, 201, JSON.stringify(made.body))
    const { accessToken, refreshToken } = made.body as { accessToken: string; refreshToken: string }
    const keyed = await rest(this, 'POST', '/v1/me/keys', { name: 'test' }, accessToken)
    assert.equal(keyed.status, 201, JSON.stringify(keyed.body))
    return new Person(this, user, accessToken, refreshToken, (keyed.body as { key: string }).key)
  }

  async people<N extends string>(...users: N[]): Promise<Record<N, Person>> {
    const all = await Promise.all(users.map(async user => [user, await this.register(user)] as const))
    return Object.fromEntries(all) as Record<N, Person>
  }
}

/** Whether a stock client's programs are installed; where REQUIRE_REAL_PARTS is set, they must be. */
export async function absent(program: string): Promise<string | false> {
  const found = await new Promise<boolean>(resolve => {
    spawn('which', [program], { stdio: 'ignore' })
      .on('exit', code => resolve(code === 0))
      .on('error', () => resolve(false))
  })
  if (found) return false
  assert.ok(!process.env.REQUIRE_REAL_PARTS, `${program} is not installed`)
  return `${program} is not installed`
}
