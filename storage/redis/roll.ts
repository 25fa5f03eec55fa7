/** Who was there at the last roll call, and who came and went since. */
import type { NodeChange } from '../../core/ports.ts'
import { call } from '../listeners.ts'
import { nodeOf, runOf } from './member.ts'

export class Roll {
  readonly #lifeMs: number
  readonly #listeners = new Set<{ listener: (change: NodeChange) => void }>()
  /** The node of each run that was there. */
  readonly #present = new Map<string, string>()
  /** Until then an absent run may only have been forgotten by a Redis that lost everything. */
  #lenientUntil = 0
  /** Lapsed members that were seen. */
  #lapsed = new Set<string>()
  #lost = 0

  constructor(lifeMs: number) {
    this.#lifeMs = lifeMs
  }

  follow(listener: (change: NodeChange) => void): () => void {
    const entry = { listener }
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  /** Nodes that are there, by name. */
  get nodes(): Set<string> {
    return new Set(this.#present.values())
  }
  /** Runs that ended without giving up their lease, as far as Redis was there to know. */
  get lost(): number {
    return this.#lost
  }

  /** `cameBack`: this node was not among the living itself, or may not have been. */
  call(members: readonly string[], lapsed: readonly string[], ownRun: string, cameBack: boolean): void {
    const now = performance.now()
    if (cameBack) this.#lenientUntil = now + this.#lifeMs
    const there = new Map(members.map(member => [runOf(member), nodeOf(member)]))
    this.#count(lapsed, run => run !== ownRun && !there.has(run))
    there.delete(ownRun)
    const came = [...there].filter(([run]) => !this.#present.has(run))
    const gone = now < this.#lenientUntil ? [] : [...this.#present].filter(([run]) => !there.has(run))
    for (const [run, node] of came) this.#present.set(run, node)
    for (const [run] of gone) this.#present.delete(run)
    if (came.length + gone.length === 0) return
    const change = { came: names(came), gone: names(gone) }
    for (const { listener } of [...this.#listeners]) call(listener, change)
  }

  /** A lease that lapsed while Redis did not answer says nothing about its node. */
  #count(lapsed: readonly string[], isLost: (run: string) => boolean): void {
    const fresh = lapsed.filter(member => !this.#lapsed.has(member))
    this.#lapsed = new Set(lapsed)
    if (performance.now() < this.#lenientUntil) return
    this.#lost += new Set(fresh.map(runOf).filter(isLost)).size
  }
}

const names = (runs: [string, string][]) => [...new Set(runs.map(([, node]) => node))]
