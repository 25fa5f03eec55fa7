/** Sessions of the real server against a simple model, under commands in any order; a failing run is made short. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { command } from './machine/commands.ts'
import { FOUND } from './machine/found.ts'
import { World } from './machine/world.ts'
import { type Image, image } from './simulation/image.ts'
import { figures, scale, seedOfRun } from './support/proof.ts'

const RUNS = scale('MACHINE_RUNS', 200)
const COMMANDS = scale('MACHINE_COMMANDS', 200)
/** Of the failing run to be played again, as its report says. */
const { MACHINE_PATH, MACHINE_REPLAY } = process.env

const limits = fc.record({
  windowMessages: fc.constantFrom(1, 3, 10, 10, 100),
  windowBytes: fc.constantFrom(600, 262_144, 262_144, 262_144),
})
// Lengths are spread evenly from none to this many.
const commands = fc.noBias(
  fc.commands([command], {
    maxCommands: 2 * COMMANDS,
    size: 'max',
    ...(MACHINE_REPLAY !== undefined && { replayPath: MACHINE_REPLAY }),
  }),
)

async function play(
  begin: Image,
  options: { windowMessages: number; windowBytes: number },
  list: Iterable<fc.AsyncCommand<{ world: World }, World>>,
) {
  const world = new World(begin, options)
  try {
    await world.begin()
    await world.gather()
    await fc.asyncModelRun(() => ({ model: { world }, real: world }), list)
    await world.settle()
  } finally {
    world.end()
  }
  return world.figures
}

test(`sessions hold what a simple model says in ${RUNS} runs of ${COMMANDS} commands`, async t => {
  const begin = await image()
  const total = { runs: 0, commands: 0, received: 0, acknowledged: 0, quiet: 0, crashes: 0 }
  const property = fc.asyncProperty(limits, commands, async (options, list) => {
    const played = await play(begin, options, list)
    total.runs++
    for (const [name, count] of Object.entries(played)) total[name as keyof typeof played] += count
  })
  const seed = seedOfRun()
  const result = await fc.check(property, {
    seed,
    numRuns: RUNS,
    ...(MACHINE_PATH !== undefined && { path: MACHINE_PATH }),
  })
  figures(t, total)
  if (result.failed) assert.fail(told(result))
  // Runs in which nothing happens prove nothing.
  assert.ok(MACHINE_PATH !== undefined || total.received > total.runs)
})

/** Orders in which each is played. */
const ORDERS = 20

for (const [says, scenes] of FOUND) {
  test(says, async () => {
    const begin = await image()
    const seed = seedOfRun()
    for (let order = seed; order < seed + ORDERS; order++) {
      const world = new World(begin, { windowMessages: 10, windowBytes: 262_144 })
      world.dice.begin(order)
      try {
        await world.begin()
        await world.gather()
        await scenes(world)
        await world.settle()
      } finally {
        world.end()
      }
    }
  })
}

interface Failed {
  seed: number
  counterexample: readonly unknown[] | null
  counterexamplePath: string | null
  errorInstance: unknown
  numShrinks: number
}

function told({ seed, counterexample, counterexamplePath, errorInstance, numShrinks }: Failed): string {
  const [options, list] = counterexample ?? []
  const steps = String(list)
  const replay = /replayPath="([^"]*)"/.exec(steps)?.[1]
  return [
    (errorInstance as Error)?.message ?? 'it failed',
    ...[JSON.stringify(options), steps, `${numShrinks} times made shorter; to play it again:`],
    `SEED=${seed} MACHINE_PATH=${counterexamplePath} MACHINE_REPLAY=${replay} node --test dist/test/machine.test.js`,
  ].join('\n')
}
