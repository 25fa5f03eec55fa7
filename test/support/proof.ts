/** What the tests that prove something share: where their chance comes from, how much of them runs, and what they report. */
import { execFileSync } from 'node:child_process'
import type { TestContext } from 'node:test'

/**
 * The seed of a run: `SEED`, else the first 32 bits of the commit, so that every commit plays other cases and the same
 * commit the same ones; 1 outside of a git checkout.
 */
export function seedOfRun(): number {
  const { SEED } = process.env
  if (SEED !== undefined) return Number(SEED) >>> 0
  try {
    const commit = execFileSync('git', ['rev-parse', 'HEAD'], { stdio: ['ignore', 'pipe', 'ignore'] })
    return Number.parseInt(commit.toString().slice(0, 8), 16)
  } catch {
    return 1
  }
}

/** The short name of the commit, or `unknown` outside of a git checkout. */
export function commitOfRun(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short=10', 'HEAD'], { encoding: 'utf8' }).trim()
  } catch {
    return 'unknown'
  }
}

/** Numbers from a seed, the same on every machine (mulberry32: 32 bits of state, good enough to choose cases with). */
export class Chance {
  #state: number
  constructor(seed: number) {
    this.#state = seed >>> 0
  }
  /** From 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  /** From 0 to below `count`. */
  below(count: number): number {
    return Math.floor(this.next() * count)
  }
  /** Whether something of that probability happens. */
  happens(probability: number): boolean {
    return this.next() < probability
  }
  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }
}

/** How much of a proof runs: a number from the environment, else the share that every commit plays. */
export const scale = (variable: string, share: number): number => Number(process.env[variable] ?? share)

/** What `npm run proof` gathers for docs/trust.md: one flat object of numbers and short words for each test. */
export function figures(t: TestContext, values: Readonly<Record<string, number | string>>): void {
  t.diagnostic(`figures ${JSON.stringify(values)}`)
}
