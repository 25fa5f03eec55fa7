/**
 * Gives memory back when the server is quiet. V8 collects when a heap fills, so what 5,000 connects leave behind would lie
 * there for hours: half as much again as the connections themselves. A collection takes some 130 ms with that
 * many, hence only in quiet.
 */
import { Session } from 'node:inspector'
import { type EventLoopUtilization, performance } from 'node:perf_hooks'

const LOOK_MS = 1_000
/** Share of the time since the last look that the event loop was busy. */
const QUIET = 0.05
/** Garbage, at most, that is not worth it. */
const WORTH_BYTES = 32 * 1024 * 1024
const REST_MS = 60_000

/** Returns a function that ends it. */
export function tidyWhenQuiet(): () => void {
  const session = new Session()
  session.connect()
  let before: EventLoopUtilization = performance.eventLoopUtilization()
  let held = process.memoryUsage().heapUsed
  let tidiedAt = Number.NEGATIVE_INFINITY
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, before)
    before = now
    if (utilization > QUIET || performance.now() - tidiedAt < REST_MS) return
    if (process.memoryUsage().heapUsed - held < WORTH_BYTES) return
    tidiedAt = performance.now()
    // Unlike `gc`, this also returns the pages.
    session.post('HeapProfiler.collectGarbage', () => {
      held = process.memoryUsage().heapUsed
    })
  }, LOOK_MS)
  timer.unref()
  return () => clearInterval(timer)
}
