/** The machine under the run: cores, processor time and memory of a process. Exact on Linux; elsewhere what `ps` knows. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism } from 'node:os'

const SERVER_CORE = '0'
const GENERATOR_CORE = '1'

/** Whether server and generator can have a core each. */
export const canPin = availableParallelism() > 1 && spawnSync('taskset', ['-V']).status === 0

/** Binds this process, every thread of it, to the generator's core. */
export function pinGenerator(): void {
  if (canPin) spawnSync('taskset', ['-a', '-p', '-c', GENERATOR_CORE, String(process.pid)])
}

/** A command line that runs on the server's core. */
export const onServerCore = (command: string[]): string[] =>
  canPin ? ['taskset', '-c', SERVER_CORE, ...command] : command

/** Processor time that a process has used so far, all threads but those of such names, in milliseconds. */
export function cpuMs(pid: number, without?: RegExp): number {
  const tasks = `/proc/${pid}/task`
  if (!existsSync(tasks)) return fromPs(pid, 'time').reduce((sum, part) => sum * 60 + part, 0) * 1_000
  let ns = 0
  for (const task of readdirSync(tasks)) {
    try {
      if (without?.test(readFileSync(`${tasks}/${task}/comm`, 'utf8'))) continue
      ns += Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0])
    } catch {
      // A thread that has just ended.
    }
  }
  return ns / 1e6
}

/** Processor time that everything on the machine has used so far, in milliseconds; null where it is not known. */
export function machineMs(): number | null {
  if (!existsSync('/proc/stat')) return null
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n', 1)
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.split(/ +/).map(Number)
  const MS_PER_TICK = 10
  return (user + nice + system + irq + softirq + steal) * MS_PER_TICK
}

/** What a process has read and written so far: of one that has few files, what went over its sockets. 0 where it is not known. */
export function trafficBytes(pid: number): number {
  const file = `/proc/${pid}/io`
  if (!existsSync(file)) return 0
  const [, read, written] = /^rchar: (\d+)\nwchar: (\d+)/.exec(readFileSync(file, 'utf8')) ?? []
  return Number(read) + Number(written)
}

const GROUPS = ['/sys/fs/cgroup/cpu', '/sys/fs/cgroup']
const PERIOD_US = 10_000

/**
 * Lets each process use so much of a core and no more, until the returned function is called after their end.
 * @throws Error where this is not Linux, or not root
 */
export function confine(processes: readonly { pid: number }[], cores: number): () => void {
  const root = GROUPS.find(existsSync) ?? ''
  const quota = Math.round(cores * PERIOD_US)
  const groups = processes.map(({ pid }) => {
    const group = `${root}/bench-${pid}`
    mkdirSync(group)
    if (existsSync(`${group}/cpu.cfs_quota_us`)) {
      writeFileSync(`${group}/cpu.cfs_period_us`, `${PERIOD_US}`)
      writeFileSync(`${group}/cpu.cfs_quota_us`, `${quota}`)
    } else writeFileSync(`${group}/cpu.max`, `${quota} ${PERIOD_US}`)
    writeFileSync(`${group}/cgroup.procs`, `${pid}`)
    return group
  })
  return () => groups.forEach(group => void rmdirSync(group))
}

/** Resident memory of a process, in KiB. */
export function rssKib(pid: number): number {
  const status = `/proc/${pid}/status`
  if (!existsSync(status)) return fromPs(pid, 'rss')[0] ?? 0
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(status, 'utf8'))?.[1])
}

const fromPs = (pid: number, field: string) =>
  spawnSync('ps', ['-o', `${field}=`, '-p', String(pid)])
    .stdout.toString()
    .trim()
    .split(':')
    .map(Number)

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as { port: number }
  await new Promise(done => server.close(done))
  return port
}

export const sleep = (ms: number) => new Promise<void>(done => setTimeout(done, ms))

/** Runs over all items, at most `width` at a time. */
export async function each<T>(items: readonly T[], width: number, work: (item: T, i: number) => Promise<unknown>) {
  let next = 0
  const lane = async () => {
    while (next < items.length) {
      const i = next++
      await work(items[i] as T, i)
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane))
}
