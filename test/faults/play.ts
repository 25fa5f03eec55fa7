/** Faults as tests: each is played once for every seed over a cluster that a file of tests shares, and told in figures. */
import assert from 'node:assert/strict'
import { after, before, type TestContext, test } from 'node:test'
import { missing } from '../cluster/needs.ts'
import { Ending, type Ends } from '../support/ends.ts'
import { figures, scale, seedOfRun } from '../support/proof.ts'
import type { TestServer } from '../support/server.ts'
import type { Outcome } from './judging.ts'
import { Round } from './round.ts'

/** `FAULT_USERS=200 FAULT_SEEDS=25` is the long run. */
export const USERS = scale('FAULT_USERS', 20)
export const SEEDS = scale('FAULT_SEEDS', 1)
const SEED = seedOfRun()
/** Messages a second, over all users. */
const PER_SECOND = scale('FAULT_RATE', 40)
/** As it was told to be played, but for one seed. */
const SCALED = Object.entries({ ...process.env, FAULT_SEEDS: '1' })
  .filter(([variable]) => /^FAULT_(USERS|SEEDS|RATE|CONNECTS)$/.test(variable))
  .map(([variable, value]) => `${variable}=${value}`)
  .join(' ')

/** Why a cluster cannot be started here. */
export function withoutCluster(): string | false {
  const absent = missing({ nginx: true }).join(' ')
  assert.ok(!absent || !process.env.REQUIRE_REAL_PARTS, absent)
  return absent || false
}

/** What is broken, as far as all faults need it. */
interface Stage {
  servers: readonly TestServer[]
}
/** Breaks something and mends it; what it returns is told beside what all faults tell. */
export type During<S> = (round: Round, stage: S) => Promise<Record<string, number> | undefined> | Promise<void>

export class Faults<S extends Stage> {
  readonly #file: string
  readonly #skip: string | false
  readonly #start: (ends: Ends) => Promise<S>
  #stage: S | undefined

  /** `file` is the test's own, for what is told to play a failure again; `anew`: each round begins with a stage of its own. */
  constructor(file: string, skipped: string | false, start: (ends: Ends) => Promise<S>, { anew = false } = {}) {
    this.#file = file
    this.#skip = skipped
    this.#start = start
    if (skipped || anew) return
    const ending = new Ending()
    before(async () => {
      this.#stage = await start(ending)
    })
    after(() => ending.end())
  }

  play(name: string, says: string, during: During<S>, skipped = this.#skip): void {
    test(`${name}: ${says}`, { skip: skipped, timeout: SEEDS * (240_000 + USERS * 500) }, async t => {
      const total = new Map([['users', USERS]])
      const breaches: string[] = []
      for (let i = 0; i < SEEDS; i++) breaches.push(...(await this.#round(t, name, (SEED + i) >>> 0, during, total)))
      figures(t, Object.fromEntries(total))
      assert.deepEqual(breaches.slice(0, 20), [], `${breaches.length} lines in all`)
    })
  }

  /** What must not happen and did. */
  async #round(
    t: TestContext,
    name: string,
    seed: number,
    during: During<S>,
    total: Map<string, number>,
  ): Promise<string[]> {
    const ending = new Ending()
    const stage = this.#stage ?? (await this.#start(ending))
    const { servers } = stage
    const round = await Round.begin({ servers, seed, users: USERS, perSecond: PER_SECOND })
    try {
      const more = await during(round, stage)
      const outcome = await round.judge()
      add(total, outcome, more ?? {})
      t.diagnostic(`seed ${seed}: clients were told ${JSON.stringify(Object.fromEntries(outcome.told))}`)
      if (outcome.says.length > 0) return [...outcome.says, ...this.#again(name, seed, round, stage)]
      round.forget()
      return []
    } catch (thrown) {
      return [`not played to its end: ${thrown}`, ...round.recorder.problems, ...this.#again(name, seed, round, stage)]
    } finally {
      round.end()
      await ending.end()
    }
  }

  /** How a round that failed is looked at. */
  #again(name: string, seed: number, { recorder }: Round, { servers }: Stage): string[] {
    const command = `SEED=${seed} ${SCALED} node --test --test-name-pattern='^${name}:' dist/test/${this.#file}.test.js`
    const wrong = servers.map(({ log }, i) => `n${i + 1}: ${errorsOf(log)}`)
    return [`The history is ${recorder.path}. To play it again: ${command}`, ...wrong]
  }
}

/** The last errors that a server logged. */
const errorsOf = (log: string) =>
  log
    .split('\n')
    .filter(line => /"level":[56]0/.test(line))
    .slice(-3)
    .map(line => line.slice(0, 400))
    .join('\n')

function add(total: Map<string, number>, outcome: Outcome, more: Record<string, number>): void {
  const sum = (figure: string, value: number) => total.set(figure, (total.get(figure) ?? 0) + value)
  const most = (figure: string, value: number) => total.set(figure, Math.max(total.get(figure) ?? 0, Math.round(value)))
  const { acknowledged, received, moves, silenceMs, caughtUpMs, verdicts } = outcome
  for (const [figure, value] of Object.entries({ rounds: 1, acknowledged, received, moves })) sum(figure, value)
  for (const [figure, value] of Object.entries({ silenceMs, caughtUpMs })) most(figure, value)
  // Times are the longest of all rounds, what is counted is added up.
  for (const [figure, value] of Object.entries(more)) (figure.endsWith('Ms') ? most : sum)(figure, value)
  for (const [verdict, value] of Object.entries(verdicts)) sum(verdict, value)
}
