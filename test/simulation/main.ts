/**
 * Plays seeds, on as many cores as are given, and tells which broke the promise.
 *
 *   npm run simulate -- --seed 7                            one run, told operation by operation
 *   npm run simulate -- --from 1 --seeds 1000000 --cores 2  many; the last line is what it found
 *   … --keep FILE                                           writes down how far it is, and goes on from there
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { seedOfRun } from '../support/proof.ts'
import { image } from './image.ts'
import { type Judged, judge, replay } from './judge.ts'
import { play } from './play.ts'
import { Tally } from './tally.ts'

/** Seeds that a worker plays before it reports. */
const BLOCK = 200

if (!isMainThread) await work()
else await main()

async function main(): Promise<void> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({ options: { seed: text, from: text, seeds: text, cores: text, keep: text } })
  if (values.seed !== undefined) return show(Number(values.seed))
  const seeds = Number(values.seeds ?? 1_000)
  const cores = Number(values.cores ?? availableParallelism())
  const tally = new Tally(values.keep, Number(values.from ?? seedOfRun()))
  const end = tally.from + seeds
  let next = tally.next
  const block = () => {
    const begin = next
    next = Math.min(next + BLOCK, end)
    return begin < next ? { from: begin, to: next } : undefined
  }
  const report = (judged: readonly Judged[]) => {
    for (const { seed, breaches } of judged)
      if (breaches.length > 0) process.stdout.write(`${breaches.join('\n')}\n  ${replay(seed)}\n`)
    tally.add((judged[0] as Judged).seed, judged)
    process.stderr.write(`\r${tally.played} of ${seeds} played, ${tally.failing.length} failed `)
  }
  await Promise.all(Array.from({ length: cores }, () => worker(block, report)))
  // What failed before a mistake was mended is played again.
  const begin = await image()
  const failing: number[] = []
  for (const seed of tally.failing) if ((await judge(seed, begin)).breaches.length > 0) failing.push(seed)
  tally.settle(failing)
  process.stderr.write('\n')
  process.stdout.write(`figures ${JSON.stringify(tally.figures())}\n`)
  process.exitCode = failing.length > 0 ? 1 : 0
}

/** One operation a line, and what is wrong with them. */
async function show(seed: number): Promise<void> {
  const begin = await image()
  for (const operation of (await play(seed, begin)).history) process.stdout.write(`${JSON.stringify(operation)}\n`)
  const { breaches } = await judge(seed, begin)
  process.stdout.write(`${breaches.join('\n') || 'Nothing is wrong.'}\n`)
  process.exitCode = breaches.length > 0 ? 1 : 0
}

type Block = { from: number; to: number }
function worker(next: () => Block | undefined, report: (judged: Judged[]) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const thread = new Worker(new URL(import.meta.url), { resourceLimits: { maxYoungGenerationSizeMb: 64 } })
    const hand = () => thread.postMessage(next())
    thread.on('message', (judged: Judged[]) => {
      report(judged)
      hand()
    })
    thread.on('error', reject)
    thread.on('exit', () => resolve())
    hand()
  })
}

async function work(): Promise<void> {
  const begin = await image()
  parentPort?.on('message', async (block: Block | undefined) => {
    if (!block) {
      parentPort?.close()
      return
    }
    const judged: Judged[] = []
    for (let seed = block.from; seed < block.to; seed++) judged.push(await judge(seed, begin))
    parentPort?.postMessage(judged)
  })
}
