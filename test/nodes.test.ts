/** Nodes of a cluster as they see each other: who has died, and who lives under a name that is not theirs alone. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Nodes } from '../broker/nodes.ts'
import { openStorage } from '../storage/open.ts'
import { TestClock } from './support/core.ts'

async function cluster(t: TestContext) {
  const clock = new TestClock()
  const storage = await openStorage({ engine: 'memory', clock })
  t.after(() => storage[Symbol.asyncDispose]())
  const dead = new Set<string>()
  const buried: string[] = []
  const told: string[] = []
  let ahead = 0
  const start = async (run: string) => {
    const [node = ''] = run.split('/')
    const scheduler = {
      now: () => clock.now() + ahead,
      after: (ms: number, work: () => void) => clock.after(ms, () => dead.has(run) || work()),
      soon: clock.soon,
    }
    const nodes = new Nodes({
      records: storage.records,
      scheduler,
      cluster: { node },
      run,
      recover: async gone => void buried.push(`${run} buries ${gone}`),
      died: () => {},
      failed: (_where, error) => told.push(`${run}: ${(error as Error).message}`),
    })
    await nodes.open()
    t.after(() => nodes.close(true))
    return nodes
  }
  const passes = async (ms: number) => {
    for (let at = 0; at < ms; at += 500) {
      clock.advance(500)
      for (let turn = 0; turn < 10; turn++) await new Promise(resolve => setImmediate(resolve))
    }
  }
  const set = (ms: number) => {
    ahead += ms
  }
  return { start, passes, set, kill: (run: string) => dead.add(run), buried, told }
}

test('a node that dies is buried by the others after 15 s, and by its next run at once', async t => {
  const { start, passes, kill, buried, told } = await cluster(t)
  for (const run of ['im1/a', 'im2/a']) await start(run)
  await passes(10_000)
  kill('im1/a')
  await passes(10_000)
  assert.deepEqual(buried, [])
  await passes(10_000)
  assert.deepEqual(buried, ['im2/a buries im1/a'])
  await start('im1/b')
  kill('im2/a')
  await start('im2/b')
  assert.deepEqual(buried, ['im2/a buries im1/a', 'im2/b buries im2/a'])
  await passes(30_000)
  assert.deepEqual(told, [])
})

test('a node that stopped and could not write everything is buried as well, and one that could is not', async t => {
  const { start, passes, buried } = await cluster(t)
  const [one, two] = [await start('im1/a'), await start('im2/a'), await start('im3/a')]
  await passes(5_000)
  await one.close(false)
  await two.close(true)
  await passes(25_000)
  assert.deepEqual(buried, ['im3/a buries im1/a'])
})

test('two servers under one name are told of it, once', async t => {
  const { start, passes, told } = await cluster(t)
  await start('im1/a')
  await passes(5_000)
  await start('im1/b')
  await passes(60_000)
  const word = 'another server lives as im1: give each an IM_NODE of its own'
  assert.deepEqual(told.sort(), [`im1/a: ${word}`, `im1/b: ${word}`])
})

test('nobody is buried for what a clock was set ahead', async t => {
  const { start, passes, set, kill, buried } = await cluster(t)
  for (const run of ['im1/a', 'im2/a']) await start(run)
  await passes(10_000)
  // Its next beats are late.
  kill('im2/a')
  await passes(4_000)
  set(60_000)
  await passes(8_000)
  assert.deepEqual(buried, [])
  await passes(20_000)
  assert.deepEqual(buried, ['im1/a buries im2/a'])
})
