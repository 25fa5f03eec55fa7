/** Work that must not overlap, one queue for each key. */
import { Fault } from '../protocol/faults.ts'

/** Of `maxWaiting` for one key, one more is refused. */
export function turns(maxWaiting = 1_000) {
  const queues = new Map<string, { last: Promise<unknown>; waiting: number }>()

  return async function inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const queue = queues.get(key) ?? { last: Promise.resolve(), waiting: 0 }
    if (queue.waiting >= maxWaiting) throw new Fault('too-many-requests', { retryAfterMs: 1_000 })
    queues.set(key, queue)
    queue.waiting++
    const mine = queue.last.then(work)
    // The next begins however this one ends; its own caller hears of a failure.
    queue.last = mine.catch(() => {})
    try {
      return await mine
    } finally {
      if (--queue.waiting === 0) queues.delete(key)
    }
  }
}
