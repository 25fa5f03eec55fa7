/**
 * Requests to the storage, counted in plain numbers: some come with every message, and a counter and a histogram with labels
 * would cost each of them 2.5 µs.
 */
import { OPERATIONS, OUTCOMES, type StorageRequest } from '../../storage/open.ts'
import { SECONDS } from './meters.ts'

const TOTAL = 'im_storage_requests_total'
const TOOK = 'im_storage_request_seconds'

interface Tally {
  outcomes: Record<StorageRequest['outcome'], number>
  /** By bucket of `SECONDS`, and one more for what took longer. */
  buckets: number[]
  seconds: number
}

export class Requests {
  readonly #tallies = new Map<StorageRequest['engine'], Record<StorageRequest['operation'], Tally>>()

  /** From now on they are told, with 0. */
  begin(engine: StorageRequest['engine']): void {
    if (!this.#tallies.has(engine)) this.#tallies.set(engine, { append: tally(), read: tally(), write: tally() })
  }

  count({ engine, operation, outcome, tookMs }: StorageRequest): void {
    const counted = this.#tallies.get(engine)?.[operation]
    if (!counted) return
    const seconds = tookMs / 1000
    let bucket = 0
    while (bucket < SECONDS.length && seconds > (SECONDS[bucket] ?? 0)) bucket++
    counted.outcomes[outcome]++
    counted.buckets[bucket] = (counted.buckets[bucket] ?? 0) + 1
    counted.seconds += seconds
  }

  /** As Prometheus reads it. */
  print(): string {
    const all = [...this.#tallies].flatMap(([engine, tallies]) =>
      OPERATIONS.map(operation => ({ labels: `engine="${engine}",operation="${operation}"`, ...tallies[operation] })),
    )
    return [
      `# HELP ${TOTAL} Requests to the storage, by outcome.`,
      `# TYPE ${TOTAL} counter`,
      ...all.flatMap(({ labels, outcomes }) =>
        OUTCOMES.map(outcome => `${TOTAL}{${labels},outcome="${outcome}"} ${outcomes[outcome]}`),
      ),
      `# HELP ${TOOK} From a request to the storage to its outcome, tries included.`,
      `# TYPE ${TOOK} histogram`,
      ...all.flatMap(({ labels, buckets, seconds }) => histogram(labels, buckets, seconds)),
      '',
    ].join('\n')
  }
}

const tally = (): Tally => ({
  outcomes: { ok: 0, conflict: 0, unavailable: 0, timeout: 0, failed: 0 },
  buckets: new Array<number>(SECONDS.length + 1).fill(0),
  seconds: 0,
})

function histogram(labels: string, buckets: number[], seconds: number): string[] {
  let upTo = 0
  const lines = [...SECONDS, '+Inf'].map((end, i) => {
    upTo += buckets[i] ?? 0
    return `${TOOK}_bucket{le="${end}",${labels}} ${upTo}`
  })
  return [...lines, `${TOOK}_sum{${labels}} ${seconds}`, `${TOOK}_count{${labels}} ${upTo}`]
}
