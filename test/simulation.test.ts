/** The server from its storage engine to MQTT's bytes, in a thousand worlds whose disk, network and clock a seed decides. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { image } from './simulation/image.ts'
import { judge, replay } from './simulation/judge.ts'
import { play } from './simulation/play.ts'
import { figures, scale, seedOfRun } from './support/proof.ts'

const SEEDS = scale('SEEDS', 1_000)

test(`in ${SEEDS} simulated runs nothing acknowledged is lost, doubled, out of order or withheld`, async t => {
  const begin = await image()
  const from = seedOfRun()
  const total = { seeds: SEEDS, failed: 0, acknowledged: 0, received: 0, faults: 0 }
  for (let seed = from; seed < from + SEEDS; seed++) {
    const { breaches, acknowledged, received, faults } = await judge(seed, begin)
    if (breaches.length > 0) {
      total.failed++
      t.diagnostic(`${breaches.join('\n')}\n  ${replay(seed)}`)
    }
    total.acknowledged += acknowledged
    total.received += received
    total.faults += faults
  }
  figures(t, total)
  assert.equal(total.failed, 0, 'the commands that play the failing runs stand above')
  // A run in which nothing happens proves nothing.
  assert.ok(total.acknowledged > SEEDS && total.received > SEEDS && total.faults > SEEDS / 10)
})

test('a seed plays the same run again, whatever was played before', async () => {
  const begin = await image()
  const seed = seedOfRun()
  const first = await play(seed, begin)
  await play(seed + 1, begin)
  assert.deepEqual(await play(seed, begin), first)
  const other = await image()
  assert.deepEqual(await play(seed, other), first)
})
