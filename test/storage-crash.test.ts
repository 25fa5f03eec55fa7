/** A process that is killed while it stores loses nothing that it acknowledged. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { ConversationKey } from '../core/ports.ts'
import type { Seq } from '../protocol/ids.ts'
import { CannotOpen } from '../storage/level/meta.ts'
import { openStorage } from '../storage/open.ts'
import { range } from './contracts/ground.ts'
import { COUNTERS } from './support/counters.ts'

const ROUNDS = Number(process.env.CRASH_ROUNDS ?? 20)
const APPENDER = fileURLToPath(new URL('./support/appender.js', import.meta.url))
type Acknowledged = [conversation: ConversationKey, seq: Seq, id: string]

const open = (directory: string) =>
  openStorage({ engine: 'level', directory, fsync: true, lowWaterBytes: 0, clock: { now: () => Date.now() } })

test('whatever was acknowledged before kill -9 is there once, in its place', { timeout: 120_000 }, async t => {
  const directory = await mkdtemp(join(tmpdir(), 'storage-crash-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const acknowledged = new Map<string, string>()
  for (const round of range(1, ROUNDS)) {
    const lines = await runAndKill(directory, round, async () => {
      if (round === 1) await assert.rejects(open(directory), thrown => isInUse(thrown))
    })
    for (const line of lines) {
      const [conversation, seq, id] = JSON.parse(line) as Acknowledged
      const place = `${conversation} ${seq}`
      assert.ok(!acknowledged.has(place), `${place} was given twice`)
      acknowledged.set(place, id)
    }
    await verify(directory, acknowledged)
  }
  assert.ok(acknowledged.size > ROUNDS)
})

const isInUse = (thrown: unknown) => thrown instanceof CannotOpen && /in use by another process/.test(thrown.message)

/** What it printed in whole lines, up to its death after some random line. */
async function runAndKill(directory: string, round: number, meanwhile: () => Promise<void>): Promise<string[]> {
  const child = spawn(process.execPath, [APPENDER, directory, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const closed = once(child, 'close')
  const wanted = Math.floor(Math.random() ** 2 * 2_000)
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    if (lines.length === 0) await meanwhile()
    if (lines.push(line) > wanted) child.kill('SIGKILL')
  }
  const [code, signal] = await closed
  assert.deepEqual([code, signal], [null, 'SIGKILL'])
  // The last one may be torn.
  return lines.filter(line => line.endsWith('"]'))
}

async function verify(directory: string, acknowledged: ReadonlyMap<string, string>): Promise<void> {
  await using storage = await open(directory)
  const stored = new Map<string, string>()
  const sent = new Set<string>()
  for (const nth of range(0, 12)) {
    const conversation = `im/g:${nth}` as ConversationKey
    const [tail] = await storage.log.tails([conversation])
    let after = 0 as Seq | 0
    for (;;) {
      const entries = await storage.log.read(conversation, { after, limit: 1_000 })
      for (const entry of entries) {
        assert.equal(entry.seq, after + 1)
        after = entry.seq
        stored.set(`${conversation} ${entry.seq}`, entry.entry.id)
        const name = `${conversation} ${entry.entry.clientMessageId}`
        assert.ok(!sent.has(name), `${name} is stored twice`)
        sent.add(name)
      }
      if (entries.length === 0) break
    }
    assert.equal(tail?.seq, after)
    const counter = await storage.records.get(COUNTERS, 'counters', conversation)
    assert.equal(counter?.row.seq ?? 0, after, 'record changes came and went with their entry')
  }
  for (const [place, id] of acknowledged) assert.equal(stored.get(place), id, place)
}
