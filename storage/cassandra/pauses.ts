/** How long to wait before what failed is tried again: the pauses in turn, then the last of them each time. */
export const pauses =
  (...ms: readonly [number, ...number[]]) =>
  (tries: number): number =>
    ms[Math.min(tries, ms.length - 1)] as number

/** Before Cassandra is asked once more for what nobody waits for. */
export const pauseOf = pauses(50, 200, 1_000, 5_000)
