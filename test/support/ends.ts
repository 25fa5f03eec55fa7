/** What a test starts ends with it: in reverse order, and also when the process of the test is killed. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Whatever runs something at its end: a test, or a file of them. */
export interface Ends {
  after(end: () => Promise<void>): void
}

/** Parts that stand on each other: what began last ends first. */
export class Ending implements Ends {
  readonly #ends: (() => Promise<void>)[] = []

  after(end: () => Promise<void>): void {
    this.#ends.push(end)
  }

  /** All of them, also when one fails; the first failure is thrown then. */
  async end(): Promise<void> {
    const failures: unknown[] = []
    for (let end = this.#ends.pop(); end; end = this.#ends.pop()) {
      try {
        await end()
      } catch (failure) {
        failures.push(failure)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}

/**
 * A process that does not outlive this one, even one that is killed, and that Ctrl-C reaches only through this one. On Linux;
 * elsewhere a plain child.
 */
export function bound(
  command: string,
  args: readonly string[],
  options: SpawnOptions,
  end: 'KILL' | 'TERM' = 'KILL',
): ChildProcess {
  if (process.platform !== 'linux') return spawn(command, args, options)
  return spawn('setpriv', ['--pdeathsig', end, '--', command, ...args], { ...options, detached: true })
}

/** Ends a child, also one that is stopped; resolves when it is gone. `withinMs` later it is killed. */
export async function finish(
  child: ChildProcess | undefined,
  signal: NodeJS.Signals,
  withinMs = 30_000,
): Promise<number | null> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
  const exit = once(child, 'exit')
  child.kill(signal)
  if (signal !== 'SIGKILL') child.kill('SIGCONT')
  const timer = setTimeout(() => child.kill('SIGKILL'), withinMs)
  const [code] = (await exit) as [number | null]
  clearTimeout(timer)
  return code
}

/** Ports that nobody listens on, on any address of this machine. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '0.0.0.0'))
  await Promise.all(servers.map(server => once(server, 'listening')))
  const ports = servers.map(server => (server.address() as { port: number }).port)
  await Promise.all(
    servers.map(server => {
      server.close()
      return once(server, 'close')
    }),
  )
  return ports
}
