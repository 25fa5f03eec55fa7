/** The machine as the rules know it: clock, timers and chance. */
import { randomFillSync } from 'node:crypto'
import type { Random, Scheduler } from '../core/ports.ts'

export const scheduler: Scheduler = {
  now: () => Date.now(),
  after(ms, run) {
    // Node fires a timer past 2^31 - 1 ms at once.
    const timer = setTimeout(run, Math.min(Math.max(ms, 0), 2_147_483_647))
    timer.unref()
    return () => clearTimeout(timer)
  },
  soon(run) {
    setImmediate(run)
  },
}

export const random: Random = {
  bytes: count => randomFillSync(new Uint8Array(count)),
}
