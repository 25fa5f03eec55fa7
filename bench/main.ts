/** `npm run bench`: runs the workloads, one after the other, each against a server of its own; a JSON line for each. */
import { cpus } from 'node:os'
import { canPin, pinGenerator } from './machine.ts'
import { type CommandLine, readOptions } from './options.ts'
import { profiling, topFunctions } from './profile.ts'
import { Ground } from './targets/cluster.ts'
import { mosquittoVersion, startMosquitto } from './targets/mosquitto.ts'
import { startServer } from './targets/server.ts'
import type { Target } from './targets/target.ts'
import { chat } from './workloads/chat.ts'
import { group } from './workloads/group.ts'
import { history } from './workloads/history.ts'
import { hot } from './workloads/hot.ts'
import { idle } from './workloads/idle.ts'
import { offline } from './workloads/offline.ts'
import { paced } from './workloads/paced.ts'
import { start } from './workloads/start.ts'
import type { Line, Result, Workload } from './workloads/workload.ts'
import { rounded } from './workloads/workload.ts'

const WORKLOADS: Record<string, Workload> = { chat, paced, group, hot, history, idle, start, offline }
/** Those that a cluster can be asked for. */
const OF_CLUSTER = ['chat', 'paced', 'group', 'hot', 'idle', 'history', 'offline']

const say = (line: Line) => process.stdout.write(`${JSON.stringify(line)}\n`)

/** Measures one workload on one server. Whether nothing was lost, doubled or out of order. */
async function once(name: string, target: Target, workload: Workload, options: CommandLine) {
  let result: Result
  try {
    result = await workload.run(target, options)
  } finally {
    // Clients that are still connected are cut by the server's stop.
    await target.stop()
  }
  say({ workload: name, server: target.name, ...result.line, ...result.verdict })
  return { ...result, correct: Object.values(result.verdict ?? {}).every(count => count === 0) }
}

async function both(name: string, options: CommandLine, ratios: Line, ground: Ground | undefined): Promise<boolean> {
  const workload = WORKLOADS[name] as Workload
  const scene = workload.scene(options)
  const profile = options.profile ? profiling() : undefined
  const target = ground
    ? await ground.cluster(name, scene, options, profile?.args)
    : await startServer(scene, options, profile?.args)
  const ours = await once(name, target, workload, options)
  if (profile) say({ workload: name, profile: topFunctions(profile.directory, ours.stretch) })
  if (!workload.reference || !options.reference || !mosquittoVersion()) return ours.correct
  const theirs = await once(name, await startMosquitto(scene), workload, options)
  if (workload.compared) {
    const { figure } = workload.compared
    const of = (result: Result) => Number(result.line[figure])
    ratios[`${name}_${figure}_ratio`] = rounded(of(ours) / of(theirs))
  }
  return ours.correct
}

async function main(): Promise<void> {
  // Servers are killed as this process exits, and it does not exit by itself when it is told to end.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(2))
  const options = readOptions(process.argv.slice(2))
  const { nodes } = options
  const all = nodes > 0 ? OF_CLUSTER : Object.keys(WORKLOADS)
  const names = options.only ?? all
  const unknown = names.filter(name => !all.includes(name))
  if (unknown.length > 0) throw new Error(`no workload ${unknown}; there are ${all}`)
  if (nodes === 0) pinGenerator()
  say({
    machine: cpus()[0]?.model,
    cores_count: cpus().length,
    node: process.version,
    ...(nodes > 0 && {
      servers_count: nodes,
      cassandra_nodes_count: options.cassandra,
      cores_per_server: options.cores ?? 'all',
    }),
    pinned:
      nodes > 0
        ? 'no: servers, Cassandra, Redis and generator share all cores'
        : canPin
          ? 'server to core 0, generator to core 1'
          : 'no: taskset is not installed, or there is one core',
    reference:
      nodes > 0
        ? 'none for a cluster'
        : mosquittoVersion()
          ? `mosquitto ${mosquittoVersion()}`
          : 'mosquitto is not installed: no reference, no ratio',
    mqtt: options.version === 5 ? '5' : '3.1.1',
    text_bytes: options.textBytes,
    client_message_ids: options.ids,
  })
  const ratios: Line = {}
  const ground = nodes > 0 ? await Ground.start(options.cassandra) : undefined
  let correct = true
  try {
    for (const name of names) correct = (await both(name, options, ratios, ground)) && correct
  } finally {
    const disk = await ground?.end()
    if (disk) say({ disk })
  }
  say({ to_mosquitto: Object.keys(ratios).length > 0 ? ratios : 'not compared', correct })
  process.exit(correct ? 0 : 1)
}

main().catch((error: Error) => {
  process.stderr.write(`${error.stack ?? error}\n`)
  process.exit(2)
})
