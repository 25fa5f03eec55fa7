/**
 * What the rounds of a fault have found so far. With FAULT_KEEP, a file, that is kept after every round, so that a long run
 * goes on where it was interrupted, also with another commit, and more rounds are added to fewer.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { commitOfRun } from '../support/proof.ts'
import type { Outcome } from './judging.ts'

const COMMIT = commitOfRun()

interface Kept {
  figures: Record<string, number>
  breaches: string[]
  /** Of all rounds. */
  seconds: number
  /** Short name of a commit → rounds that it played. */
  commits: Record<string, number>
}

export class Sum {
  readonly #file = process.env.FAULT_KEEP
  readonly #name: string
  readonly #kept: Kept
  #since = performance.now()

  /** `name`: of the fault and how it is played, which is kept by it; `rounds`: how many. Where that many are kept, it begins anew. */
  constructor(name: string, rounds: number) {
    this.#name = name
    const fresh = { figures: {}, breaches: [], seconds: 0, commits: {} }
    const kept = this.#all()[name] ?? fresh
    this.#kept = countOf(kept) < rounds ? kept : fresh
  }

  get rounds(): number {
    return countOf(this.#kept)
  }
  get breaches(): readonly string[] {
    return this.#kept.breaches
  }

  /** A round is played. `outcome`: absent where it was not played to its end. */
  add(breaches: readonly string[], outcome: Outcome | undefined, more: Readonly<Record<string, number>>): void {
    const { commits } = this.#kept
    this.#kept.breaches.push(...breaches)
    commits[COMMIT] = (commits[COMMIT] ?? 0) + 1
    if (outcome) this.#count(outcome, more)
    this.#kept.seconds += (performance.now() - this.#since) / 1000
    this.#since = performance.now()
    this.#save()
  }

  #count(
    { acknowledged, received, moves, silenceMs, caughtUpMs, verdicts }: Outcome,
    more: Record<string, number>,
  ): void {
    const { figures } = this.#kept
    const counted = { rounds: 1, acknowledged, received, moves, silenceMs, caughtUpMs, ...more, ...verdicts }
    for (const [figure, value] of Object.entries(counted)) {
      const before = figures[figure] ?? 0
      // Times are the longest of all rounds, what is counted is added up.
      figures[figure] = figure.endsWith('Ms') ? Math.max(before, Math.round(value)) : before + value
    }
  }

  /** All rounds are played: what they have found. */
  end(): Record<string, number | string> {
    const { figures, seconds, commits } = this.#kept
    const by = Object.entries(commits).map(([commit, rounds]) => `${commit} ${rounds}`)
    return {
      ...figures,
      ...(this.#file !== undefined && { seconds: Math.round(seconds) }),
      ...(by.length > 1 && { playedBy: by.join(', ') }),
    }
  }

  #all(): Record<string, Kept> {
    return this.#file !== undefined && existsSync(this.#file) ? JSON.parse(readFileSync(this.#file, 'utf8')) : {}
  }

  #save(): void {
    if (this.#file === undefined) return
    writeFileSync(`${this.#file}.new`, JSON.stringify({ ...this.#all(), [this.#name]: this.#kept }))
    renameSync(`${this.#file}.new`, this.#file)
  }
}

const countOf = ({ commits }: Kept) => Object.values(commits).reduce((sum, rounds) => sum + rounds, 0)
