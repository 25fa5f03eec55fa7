/**
 * Plays seeds, on as many cores as are given, and tells which broke the promise.
 *
 *   npm run simulate -- --seed 7                            one run, told operation by operation
 *   npm run simulate -- --from 1 --seeds 1000000 --cores 2  many; the last line is what it found
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { seedOfRun } from '../support/proof.ts'
import { image } from './image.ts'
import { type Judged, judge, replay } from './judge.ts'
import { play } from './play.ts'

/** Seeds that a worker plays before it reports. */
const BLOCK = 200

if (!isMainThread) await work()
else await main()

async function main(): Promise<void> {
  const options = {
    seed: { type: 'string' },
    from: { type: 'string' },
    seeds: { type: 'string' },
    cores: { type: 'string' },
  } as const
  const { values } = parseArgs({ options })
  if (values.seed !== undefined) return show(Number(values.seed))
  const from = Number(values.from ?? seedOfRun())
  const seeds = Number(values.seeds ?? 1_000)
  const cores = Number(values.cores ?? availableParallelism())
  const startedAt = performance.now()
  const total = { seeds: 0, failed: 0, acknowledged: 0, received: 0, faults: 0 }
  let next = from
  const report = (judged: readonly Judged[]) => {
    for (const { seed, breaches, acknowledged, received, faults } of judged) {
      total.seeds++
      total.acknowledged += acknowledged
      total.received += received
      total.faults += faults
      if (breaches.length === 0) continue
      total.failed++
      process.stdout.write(`${breaches.join('\n')}\n  ${replay(seed)}\n`)
    }
    process.stderr.write(`\r${total.seeds} of ${seeds} played, ${total.failed} failed `)
  }
  const block = () => {
    const begin = next
    next = Math.min(next + BLOCK, from + seeds)
    return begin < next ? { from: begin, to: next } : undefined
  }
  await Promise.all(Array.from({ length: cores }, () => worker(block, report)))
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  process.stderr.write('\n')
  process.stdout.write(`figures ${JSON.stringify({ from, ...total, seconds })}\n`)
  process.exitCode = total.failed > 0 ? 1 : 0
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
