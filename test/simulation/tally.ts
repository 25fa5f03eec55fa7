/** What a long run of seeds has found so far: kept in a file, so that it goes on after an interruption, and by whom it was played. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { commitOfRun } from '../support/proof.ts'
import type { Judged } from './judge.ts'

interface Kept {
  from: number
  /** Everything below is counted. */
  next: number
  acknowledged: number
  received: number
  faults: number
  seconds: number
  failing: number[]
  /** Short name of a commit → seeds that it played. */
  commits: Record<string, number>
}

export class Tally {
  readonly #file: string | undefined
  readonly #kept: Kept
  readonly #commit = commitOfRun()
  /** Blocks behind one that is not done yet. */
  readonly #ahead = new Map<number, readonly Judged[]>()
  #savedAt = performance.now()

  constructor(file: string | undefined, from: number) {
    this.#file = file
    const fresh = { from, next: from, acknowledged: 0, received: 0, faults: 0, seconds: 0, failing: [], commits: {} }
    this.#kept = file && existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Kept) : fresh
  }

  get from(): number {
    return this.#kept.from
  }
  get next(): number {
    return this.#kept.next
  }
  get played(): number {
    return this.#kept.next - this.#kept.from
  }
  /** Seeds that have failed so far. */
  get failing(): readonly number[] {
    return this.#kept.failing
  }

  /** A block that begins at `from` is played. */
  add(from: number, judged: readonly Judged[]): void {
    this.#ahead.set(from, judged)
    const kept = this.#kept
    for (let block = this.#ahead.get(kept.next); block; block = this.#ahead.get(kept.next)) {
      this.#ahead.delete(kept.next)
      kept.next += block.length
      kept.commits[this.#commit] = (kept.commits[this.#commit] ?? 0) + block.length
      for (const { seed, breaches, acknowledged, received, faults } of block) {
        kept.acknowledged += acknowledged
        kept.received += received
        kept.faults += faults
        if (breaches.length > 0) kept.failing.push(seed)
      }
    }
    this.save()
  }

  /** Seeds that failed and were played again: those that still fail. */
  settle(failing: number[]): void {
    this.#kept.failing = failing
    this.save()
  }

  save(): void {
    const now = performance.now()
    this.#kept.seconds += (now - this.#savedAt) / 1000
    this.#savedAt = now
    if (!this.#file) return
    writeFileSync(`${this.#file}.new`, JSON.stringify(this.#kept))
    renameSync(`${this.#file}.new`, this.#file)
  }

  figures(): Record<string, number | string> {
    const { failing, acknowledged, received, faults, seconds, commits } = this.#kept
    const by = Object.entries(commits).map(([commit, seeds]) => `${commit} ${seeds}`)
    const figures = { seeds: this.played, failed: failing.length, acknowledged, received, faults }
    return { ...figures, seconds: Math.round(seconds), playedBy: by.join(', ') }
  }
}
