/** The timers of the process, which Aedes uses, on the clock of a run. */
import type { Life } from './turns.ts'

interface Timer {
  refresh(): Timer
  ref(): Timer
  unref(): Timer
  hasRef(): boolean
  cancel(): void
}

/** Until the returned function is called, timers are of that life; of the one that is current when they are set. */
export function virtualTimers(current: () => Life): () => void {
  const real = { setTimeout, clearTimeout, setInterval, clearInterval }
  const start = (run: () => void, ms: number, again: boolean): Timer => {
    const life = current()
    let stop: () => void
    const arm = () => {
      stop = life.after(Math.max(1, ms), () => {
        if (again) arm()
        run()
      })
    }
    arm()
    const timer: Timer = {
      refresh() {
        stop()
        arm()
        return timer
      },
      ref: () => timer,
      unref: () => timer,
      hasRef: () => true,
      cancel: () => stop(),
    }
    return timer
  }
  const starter =
    (again: boolean) =>
    (run: (...args: unknown[]) => void, ms = 1, ...args: unknown[]) =>
      start(() => run(...args), ms, again)
  const stop = (timer: Timer | undefined | null) => timer?.cancel?.()
  Object.assign(globalThis, {
    setTimeout: starter(false),
    setInterval: starter(true),
    clearTimeout: stop,
    clearInterval: stop,
  })
  return () => Object.assign(globalThis, real)
}
