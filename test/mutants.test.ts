/** Faults planted in copies of the code: the checker finds each of them, so that its silence about the code itself counts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VERDICTS } from './checker/history.ts'
import { Copies, planted } from './mutants/copy.ts'
import { MUTANTS } from './mutants/mutants.ts'
import { Chance, figures, scale, seedOfRun } from './support/proof.ts'

/** `MUTANT=words` hunts only those whose names hold them; else so many are hunted, which ones is the seed's. */
const { MUTANT } = process.env
const chance = new Chance(seedOfRun())
const CHOSEN = MUTANT
  ? MUTANTS.filter(({ name }) => name.includes(MUTANT))
  : MUTANTS.map(mutant => ({ mutant, at: chance.below(1_000_000) }))
      .sort((a, b) => a.at - b.at)
      .slice(0, scale('MUTANTS', 22))
      .map(({ mutant }) => mutant)
/** The first of the same seeds for every mutant, and for every commit. */
const FROM = 1
/** A fault that so many runs do not show counts as missed. */
const SEEDS = scale('MUTANT_SEEDS', 10_000)
/** The code without a fault plays as many. */
const CLEAN_SEEDS = 300
const AT_ONCE = 2

test(`${CHOSEN.length} planted faults are told by the checker`, { concurrency: AT_ONCE }, async t => {
  const copies = await Copies.of([undefined, ...CHOSEN])
  t.after(() => copies.remove())
  const found: number[] = []
  const clean = t.test('a copy without a fault is clean', async () => {
    assert.deepEqual(await copies.hunt(0, FROM, CLEAN_SEEDS), { seeds: CLEAN_SEEDS, breaches: {} })
  })
  const hunts = CHOSEN.map(({ name, file, verdict }, nth) =>
    t.test(`${verdict}: ${name}`, async t => {
      const { seeds, breaches } = await copies.hunt(nth + 1, FROM, SEEDS, verdict)
      const breach = breaches[verdict]
      const others = Object.keys(breaches).join(', ') || 'nothing'
      const again = `MUTANT=${JSON.stringify(name)} node --test dist/test/mutants.test.js`
      assert.ok(breach, `${file}: in ${seeds} runs the checker told of ${others}, but not of ${verdict}\n  ${again}`)
      t.diagnostic(`after ${seeds} runs: ${breach.says}`)
      found.push(seeds)
    }),
  )
  await Promise.all([clean, ...hunts])
  found.sort((a, b) => a - b)
  const medianSeeds = found[found.length >> 1] ?? 0
  figures(t, { mutants: CHOSEN.length, found: found.length, medianSeeds, mostSeeds: found.at(-1) ?? 0 })
})

test('every verdict of the checker is the answer to some fault', () => {
  assert.deepEqual(new Set(MUTANTS.map(({ verdict }) => verdict)), new Set(VERDICTS))
  assert.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length)
})

test('every fault has its place in the code', () => {
  for (const mutant of MUTANTS) assert.notEqual(planted(mutant), '')
})

test('a fault whose place in the code is gone, or is there twice, is not planted in silence', () => {
  const patch = { file: 'broker/cursor.ts', find: 'acked = a', put: 'acked = 0' }
  assert.equal(planted(patch, 'this.acked = a'), 'this.acked = 0')
  for (const source of ['this.sent = a', 'acked = a; acked = a'])
    assert.throws(() => planted(patch, source), /instead of once/)
})
