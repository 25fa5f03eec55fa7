/** Redis servers of a test's own, on free ports of loopback, with nothing kept on disk. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { bound, type Ends, freePorts } from './ends.ts'

export type { Ends }

export class RedisServer {
  readonly port: number
  readonly #directory: string
  readonly #more: readonly string[]
  #process: ChildProcess | undefined
  #isPaused = false

  private constructor(port: number, more: readonly string[]) {
    this.port = port
    this.#more = more
    this.#directory = mkdtempSync(join(tmpdir(), 'im-redis-'))
  }

  /** Running, until the test ends. */
  static async start(t: Ends, ...more: string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), more)
    t.after(() => server.#remove())
    await server.start()
    return server
  }

  /** A Sentinel that watches a master by the name `main`, alone, and gives it up after 500 ms of silence. */
  static async sentinel(t: Ends, master: RedisServer): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), ['--sentinel'])
    t.after(() => server.#remove())
    const says = [
      `sentinel monitor main 127.0.0.1 ${master.port} 1`,
      'sentinel down-after-milliseconds main 500',
      'sentinel failover-timeout main 2000',
      `port ${server.port}`,
      'bind 127.0.0.1',
    ]
    writeFileSync(join(server.#directory, 'sentinel.conf'), `${says.join('\n')}\n`)
    await server.start()
    return server
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** On the same port, and empty, after `kill`. */
  async start(): Promise<void> {
    const alone = ['--port', `${this.port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...this.#more]
    const args = this.#more.includes('--sentinel') ? ['sentinel.conf', '--sentinel'] : alone
    const child = bound('redis-server', args, { cwd: this.#directory, stdio: ['ignore', 'pipe', 'inherit'] })
    this.#process = child
    let said = ''
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      said += chunk
      if (/Ready to accept connections|monitor master main/.test(said)) break
    }
    assert.equal(child.exitCode, null, `redis-server did not start: ${said}`)
    child.stdout?.resume()
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    if (this.#isPaused) this.resume()
    child.kill(signal)
    await exit
  }

  /** It answers nothing, and connections to it hang. */
  pause(): void {
    this.#isPaused = true
    this.#process?.kill('SIGSTOP')
  }
  resume(): void {
    this.#isPaused = false
    this.#process?.kill('SIGCONT')
  }

  /** What a plain client gets for one command. */
  async ask(command: string, ...args: (string | number)[]): Promise<unknown> {
    const client = new Redis({ port: this.port, host: '127.0.0.1', lazyConnect: true, retryStrategy: () => null })
    try {
      await client.connect()
      return await client.call(command, ...args)
    } finally {
      client.disconnect()
    }
  }

  /** A number of INFO. */
  async info(name: string): Promise<number> {
    return Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(String(await this.ask('INFO')))?.[1])
  }

  async #remove(): Promise<void> {
    await this.kill()
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** Three masters that share the slots. */
export async function startCluster(t: Ends): Promise<{ servers: RedisServer[]; url: string }> {
  const servers = await Promise.all(
    [1, 2, 3].map(async () =>
      RedisServer.start(
        t,
        ...['--cluster-enabled', 'yes', '--cluster-node-timeout', '5000', '--cluster-require-full-coverage', 'no'],
        ...['--cluster-port', `${await freePort()}`],
      ),
    ),
  )
  const hosts = servers.map(({ port }) => `127.0.0.1:${port}`)
  const made = spawn('redis-cli', ['--cluster', 'create', ...hosts, '--cluster-yes'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  for await (const chunk of made.stdout) said += chunk
  assert.match(said, /All 16384 slots covered/)
  // Each by itself: who has not heard of it yet refuses keys.
  const isWhole = async (server: RedisServer) =>
    /cluster_state:ok.*slots_ok:16384/s.test(String(await server.ask('CLUSTER', 'INFO')))
  for (const server of servers) await until(() => isWhole(server), 'each part knows of all slots')
  return { servers, url: `redis+cluster://${hosts.join(',')}` }
}

const freePort = async () => (await freePorts(1))[0] ?? 0

/** Resolves when it holds; for what another process does and tells nobody of. */
export async function until(holds: () => boolean | Promise<boolean>, what: string, withinMs = 15_000): Promise<void> {
  const end = performance.now() + withinMs
  while (!(await holds())) {
    assert.ok(performance.now() < end, `not within ${withinMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}
