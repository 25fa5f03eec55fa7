/** Faults as tests: each is played once for every seed over a cluster that a file of tests shares, and told in figures. */
import assert from 'node:assert/strict'
import { after, before, type TestContext, test } from 'node:test'
import { missing } from '../cluster/needs.ts'
import { Ending, type Ends } from '../support/ends.ts'
import { figures, scale, seedOfRun } from '../support/proof.ts'
import type { TestServer } from '../support/server.ts'
import { Round } from './round.ts'
import { Sum } from './sum.ts'

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
      const sum = new Sum(`${name} ${SCALED}`, SEEDS)
      while (sum.rounds < SEEDS) await this.#round(t, name, (SEED + sum.rounds) >>> 0, during, sum)
      figures(t, { users: USERS, ...sum.end() })
      assert.deepEqual(sum.breaches.slice(0, 20), [], `${sum.breaches.length} lines in all`)
    })
  }

  async #round(t: TestContext, name: string, seed: number, during: During<S>, sum: Sum): Promise<void> {
    const ending = new Ending()
    const stage = this.#stage ?? (await this.#start(ending))
    const { servers } = stage
    const round = await Round.begin({ servers, seed, users: USERS, perSecond: PER_SECOND })
    try {
      const more = await during(round, stage)
      const outcome = await round.judge()
      t.diagnostic(`seed ${seed}: clients were told ${JSON.stringify(Object.fromEntries(outcome.told))}`)
      const holds = outcome.says.length === 0
      if (holds) round.forget()
      sum.add(holds ? [] : [...outcome.says, ...this.#again(name, seed, round, stage)], outcome, more ?? {})
    } catch (thrown) {
      const { problems } = round.recorder
      const says = [`not played to its end: ${thrown}`, ...problems, ...this.#again(name, seed, round, stage)]
      sum.add(says, undefined, {})
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
