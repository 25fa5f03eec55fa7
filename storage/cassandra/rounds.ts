/** Looks at the ends of conversations of which messages of the bus may be missing: what it has not told is found all the same. */
import type { Bus, Cluster } from '../../core/ports.ts'
import type { Shared } from './log.ts'
import type { View } from './view.ts'

/** Looked at together. */
const LOOKS = 64
/** Pauses between looks at one: while the bus is away, and while it is not; then so many in each tick at most, the longest unseen first. */
const AWAY_MS = 2_000
const ROUND_MS = 60_000
const LOOKS_A_TICK = 100
const TICK_MS = 500
/** What cannot be looked at does not keep the others waiting for longer. */
const LOOK_MS = 5_000

type Looks = Pick<Shared, 'pause' | 'closed'>

export class Rounds {
  readonly #shared: Looks
  readonly #bus: Bus
  readonly #views: () => View[]
  readonly #ends: (() => void)[]
  readonly #rounds: Promise<void>
  /** Some messages are missing; or a node has died, and may not have announced what it stored last. */
  #missed = false
  #gone = false

  /** `views`: all that can be missed, the most lately used first. */
  constructor(shared: Looks, { bus, leases }: Pick<Cluster, 'bus' | 'leases'>, views: () => View[]) {
    this.#shared = shared
    this.#bus = bus
    this.#views = views
    this.#ends = [
      bus.onMissed(() => {
        this.#missed = true
      }),
      leases.onNodes(({ gone }) => {
        this.#gone ||= gone.length > 0
      }),
    ]
    this.#rounds = this.#go()
  }

  close(): void {
    for (const end of this.#ends) end()
  }
  idle(): Promise<void> {
    return this.#rounds
  }

  async #go(): Promise<void> {
    const { pause, closed } = this.#shared
    for (let awayMs = 0; !closed(); ) {
      await pause(TICK_MS)
      awayMs = this.#bus.healthy ? 0 : awayMs + TICK_MS
      const all = this.#missed || awayMs >= AWAY_MS
      if (all) awayMs = 0
      const now = all ? this.#all() : this.#gone ? this.#ofOthers() : this.#due()
      this.#missed = false
      this.#gone = false
      for (let at = 0; at < now.length && !closed(); at += LOOKS) {
        const looks = Promise.all(now.slice(at, at + LOOKS).map(view => view.look()))
        await Promise.race([looks, pause(LOOK_MS)])
      }
    }
  }

  /** Those that somebody here waits for come first. */
  #all(): View[] {
    const views = this.#views()
    return [...views.filter(({ isWatched }) => isWatched), ...views.filter(({ isWatched }) => !isWatched)]
  }

  /** Those that others have appended to, or may. */
  #ofOthers(): View[] {
    return this.#all().filter(({ isWatched, others }) => isWatched || others > 0)
  }

  #due(): View[] {
    const before = performance.now() - ROUND_MS
    const due = this.#views().filter(({ lookedAt }) => lookedAt < before)
    return due.sort((a, b) => a.lookedAt - b.lookedAt).slice(0, LOOKS_A_TICK)
  }
}
