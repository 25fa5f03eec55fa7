/** What a workload is, and how a stretch of time is measured. */
import type { Flow, Verdict } from '../load/flow.ts'
import type { Histogram } from '../load/histogram.ts'
import { cpuMs, machineMs, rssKib, sleep } from '../machine.ts'
import type { Counts, Options, Scene, Target } from '../targets/target.ts'

/** Figures by name, each with its unit. */
export type Line = Record<string, unknown>

/** A stretch of time, in nanoseconds of the monotonic clock: what a profile is cut to. */
export interface Stretch {
  from: bigint
  to: bigint
}

export interface Result {
  line: Line
  /** Absent where nothing is counted. Any count above zero fails the run. */
  verdict?: Verdict | Record<string, number>
  stretch?: Stretch
}

export interface Workload {
  says: string
  scene(options: Options): Scene
  run(target: Target, options: Options): Promise<Result>
  /** Whether mosquitto can do it. */
  reference: boolean
  /** The figure that is compared with mosquitto's, and whether more is better. */
  compared?: { figure: string; more: boolean }
}

export interface Spent {
  seconds: number
  serverMs: number
  generatorMs: number
  /** What others on the machine used meanwhile: well above 0, the figures are not to be trusted. */
  othersCores: number | null
  /** What the counts of the target grew by. */
  under?: Counts
  stretch: Stretch
}

/** Lets time pass, or something happen, and says what it took. */
export async function spending(target: Target, happen: () => Promise<unknown>): Promise<Spent> {
  const counts = await target.counts?.()
  const from = process.hrtime.bigint()
  const before = { all: machineMs(), server: cpuOf(target), generator: cpuMs(process.pid) }
  await happen()
  const to = process.hrtime.bigint()
  const seconds = Number(to - from) / 1e9
  const serverMs = cpuOf(target) - before.server
  const generatorMs = cpuMs(process.pid) - before.generator
  const all = machineMs()
  const under = counts && grown(counts, (await target.counts?.()) ?? {})
  const underUs = Object.entries(under ?? {}).reduce((sum, [name, us]) => sum + (name.endsWith('_cpu_us') ? us : 0), 0)
  const othersMs =
    all === null || before.all === null ? null : all - before.all - serverMs - generatorMs - underUs / 1_000
  const othersCores = othersMs === null ? null : Math.max(0, rounded(othersMs / 1_000 / seconds))
  return { seconds, serverMs, generatorMs, othersCores, ...(under && { under }), stretch: { from, to } }
}

const cpuOf = ({ pids }: Target) => pids.reduce((sum, pid) => sum + cpuMs(pid), 0)
/** Resident memory of all servers, in KiB. */
export const rssOf = ({ pids }: Target): number => pids.reduce((sum, pid) => sum + rssKib(pid), 0)

export const grown = (before: Counts, after: Counts): Counts =>
  Object.fromEntries(Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)]))

/** What lies below the servers did for each of so many things. */
export const below = ({ under = {} }: Pick<Spent, 'under'>, total: number, thing: string): Line =>
  Object.fromEntries(Object.entries(under).map(([name, count]) => [`${name}_per_${thing}`, rounded(count / total)]))

/** What every workload of messages tells of each. */
export const perMessage = (it: Awaited<ReturnType<typeof measure>>): Line => ({
  messages_per_s: rounded(it.completed / it.seconds),
  ...it.times,
  server_cpu_us_per_message: it.per(it.completed).server_cpu_us,
  ...it.cores,
  ...below(it, it.completed, 'message'),
})

/** Runs a flow that was begun: warms up, measures, stops. */
export async function measure(target: Target, flow: Flow, { seconds, warmUpMs }: Options) {
  await sleep(warmUpMs)
  flow.measureFromNow()
  const spent = await spending(target, () => sleep(seconds * 1_000))
  const { completed, received } = flow
  const times = { ...quantiles('ack', flow.acknowledgement), ...quantiles('delivery', flow.delivery) }
  const rss = rounded(rssOf(target) / 1_024)
  await flow.stop()
  const per = (total: number) => ({
    server_cpu_us: rounded((spent.serverMs * 1_000) / total),
    generator_cpu_us: rounded((spent.generatorMs * 1_000) / total),
  })
  const cores = coresOf(spent)
  return { ...spent, completed, received, times, rss, per, cores, verdict: flow.verdict() }
}

/** How busy the machine was, and with what. */
export const coresOf = ({ serverMs, generatorMs, othersCores, seconds }: Spent): Line => ({
  server_cores: rounded(serverMs / 1_000 / seconds),
  generator_cores: rounded(generatorMs / 1_000 / seconds),
  others_cores: othersCores,
})

function quantiles(of: string, times: Histogram): Line {
  return { [`${of}_p50_ms`]: rounded(times.quantileMs(0.5)), [`${of}_p99_ms`]: rounded(times.quantileMs(0.99)) }
}

/** Three digits that count, or all of a whole number. */
export function rounded<T extends number | null>(value: T): T {
  if (value === null || Math.abs(value) >= 100) return (value === null ? null : Math.round(value)) as T
  return Number(value.toPrecision(3)) as T
}
