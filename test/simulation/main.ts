/**
 * Plays seeds.
 *
 *   node dist/test/simulation/main.js --seed 7 --trace      one run, told operation by operation
 *   node dist/test/simulation/main.js --from 1 --seeds 1000000
 */
import { parseArgs } from 'node:util'
import { image } from './image.ts'
import { play } from './play.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    trace: { type: 'boolean' },
    from: { type: 'string' },
    seeds: { type: 'string' },
  },
})
const begin = await image()
const t0 = performance.now()
const from = Number(values.seed ?? values.from ?? 1)
const count = values.seed ? 1 : Number(values.seeds ?? 1000)
let ops = 0
let steps = 0
for (let seed = from; seed < from + count; seed++) {
  const outcome = await play(seed, begin)
  ops += outcome.history.length
  steps += outcome.steps
  if (values.trace) for (const op of outcome.history) console.log(JSON.stringify(op))
  if (outcome.failures.length) console.log(seed, outcome.failures)
}
console.log({ ms: (performance.now() - t0) / count, ops: ops / count, steps: steps / count })
