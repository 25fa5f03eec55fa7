/** Where the server's processor time went: self time by function, of the stretch that was measured. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Stretch } from './workloads/workload.ts'

const SHOWN = 30

interface CpuProfile {
  /** Microseconds of the monotonic clock. */
  startTime: number
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[]
  samples: number[]
  timeDeltas: number[]
}

/** A folder for a profile, and the arguments that make node write one there. */
export function profiling(): { directory: string; args: string[] } {
  const directory = mkdtempSync(join(tmpdir(), 'bench-profile-'))
  return { directory, args: ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${directory}`] }
}

/** The functions with the most self time, in percent of the main thread's busy time. The profile is removed. */
export function topFunctions(directory: string, stretch?: Stretch): { self_percent: number; function: string }[] {
  const [file] = readdirSync(directory)
  if (!file) return []
  const profile = JSON.parse(readFileSync(join(directory, file), 'utf8')) as CpuProfile
  rmSync(directory, { recursive: true })
  const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const times = new Map<string, number>()
  let at = profile.startTime
  let total = 0
  profile.samples.forEach((id, i) => {
    const took = profile.timeDeltas[i] ?? 0
    at += took
    if (stretch && (at < Number(stretch.from / 1_000n) || at > Number(stretch.to / 1_000n))) return
    const name = names.get(id) ?? ''
    if (name === '(idle)') return
    times.set(name, (times.get(name) ?? 0) + took)
    total += took
  })
  return [...times]
    .sort(([, a], [, b]) => b - a)
    .slice(0, SHOWN)
    .map(([name, took]) => ({ self_percent: Math.round((1_000 * took) / total) / 10, function: name }))
}

function nameOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const place = url.replace(/^.*\/(node_modules|dist)\//, '')
  return place ? `${functionName || '(anonymous)'} ${place}:${lineNumber + 1}` : functionName
}
