/**
 * The log alone: appends with fsync, reads, opening. JSON lines on standard output.
 * `node dist/bench/log.js [--dir DIR] [--seconds 3] [--entries 1000000] [only …]`; only: append, read, open.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import type { ConversationKey, EntryDraft, Storage } from '../core/ports.ts'
import type { Sender, Seq } from '../protocol/ids.ts'
import { openStorage } from '../storage/open.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dir: { type: 'string' },
    seconds: { type: 'string', default: '3' },
    entries: { type: 'string', default: '1000000' },
    fsync: { type: 'string', default: 'on' },
  },
})
const seconds = Number(values.seconds)
const only = new Set(positionals.length > 0 ? positionals : ['append', 'read', 'open'])
const directory = values.dir ?? (await mkdtemp(join(tmpdir(), 'bench-log-')))
const TEXT = 'x'.repeat(200)

const open = (name: string) =>
  openStorage({
    engine: 'level',
    directory: join(directory, name),
    fsync: values.fsync === 'on',
    lowWaterBytes: 0,
    clock: { now: () => Date.now() },
  })
const print = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)
const draft = (clientMessageId?: string): EntryDraft => ({
  kind: 'message',
  from: 'alice' as Sender,
  body: { type: 'text', text: TEXT, ...(clientMessageId !== undefined && { clientMessageId }) },
})
const named = (nth: number) => `im/u:alice:user-${nth}` as ConversationKey

async function appends(storage: Storage, inFlight: number, withIds: boolean, run: string): Promise<void> {
  const until = performance.now() + seconds * 1_000
  const cpu = process.cpuUsage()
  const startedAt = performance.now()
  const latencies: number[] = []
  const sender = async (nth: number) => {
    for (let count = 0; performance.now() < until; count++) {
      const sentAt = performance.now()
      await storage.log.append(named(nth % 100), draft(withIds ? `${run}-${nth}-${count}` : undefined))
      latencies.push(performance.now() - sentAt)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, (_, nth) => sender(nth)))
  const tookMs = performance.now() - startedAt
  const { user, system } = process.cpuUsage(cpu)
  latencies.sort((a, b) => a - b)
  print({
    bench: 'append',
    inFlight,
    clientMessageId: withIds,
    perSecond: Math.round((latencies.length / tookMs) * 1_000),
    cpuUs: round((user + system) / latencies.length),
    p50Ms: round(latencies[latencies.length >> 1] ?? 0),
    p99Ms: round(latencies[Math.floor(latencies.length * 0.99)] ?? 0),
  })
}
const round = (number: number) => Math.round(number * 1_000) / 1_000

async function fill(storage: Storage, conversations: number, entries: number): Promise<void> {
  for (let done = 0; done < entries; done += 10_000)
    await Promise.all(
      Array.from({ length: Math.min(10_000, entries - done) }, (_, nth) =>
        storage.log.append(named((done + nth) % conversations), draft(`f-${done + nth}`)),
      ),
    )
}

async function reads(storage: Storage, readers: number, where: 'anywhere' | 'end'): Promise<void> {
  const conversation = named(0)
  const [tail] = await storage.log.tails([conversation])
  const end = tail?.seq ?? 0
  const startedAt = performance.now()
  const cpu = process.cpuUsage()
  let pages = 0
  const reader = async () => {
    while (performance.now() - startedAt < seconds * 1_000) {
      const after = where === 'end' ? end - 50 : Math.floor(Math.random() * (end - 50))
      const page = await storage.log.read(conversation, { after: after as Seq | 0, limit: 50 })
      if (page.length !== 50) throw new Error('a short page')
      pages++
    }
  }
  await Promise.all(Array.from({ length: readers }, reader))
  const { user, system } = process.cpuUsage(cpu)
  const tookMs = performance.now() - startedAt
  print({
    bench: 'read 50 of 10,000',
    readers,
    where,
    pagesPerSecond: Math.round((pages / tookMs) * 1_000),
    cpuUs: round((user + system) / pages),
  })
}

if (only.has('append'))
  for (const withIds of [false, true])
    for (const inFlight of [1, 8, 800]) {
      await using storage = await open('append')
      await appends(storage, inFlight, withIds, `${inFlight}`)
    }

if (only.has('read')) {
  {
    await using storage = await open('read')
    await fill(storage, 1, 10_000)
  }
  await using storage = await open('read')
  for (const readers of [1, 8]) await reads(storage, readers, 'anywhere')
  await storage.log.append(named(0), draft())
  await reads(storage, 8, 'end')
}

if (only.has('open')) {
  const entries = Number(values.entries)
  {
    await using storage = await open('open')
    const startedAt = performance.now()
    await fill(storage, 1_000, entries)
    print({ bench: 'fill', entries, tookMs: Math.round(performance.now() - startedAt) })
  }
  const startedAt = performance.now()
  await using storage = await open('open')
  const [tail] = await storage.log.tails([named(7)])
  print({ bench: 'open', entries, tail: tail?.seq, tookMs: round(performance.now() - startedAt) })
}

if (!values.dir) await rm(directory, { recursive: true, force: true })
