/** From kill -9 in the middle of writing to a server that answers, with many entries stored. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type EntryJson, Person } from './support/person.ts'
import { figures, scale } from './support/proof.ts'
import { TestServer } from './support/server.ts'

/** `ENTRIES=1000000` and `ENTRIES=10000000` are the long runs. */
const ENTRIES = scale('ENTRIES', 100_000)
/** Where so many entries are stored, the server is ready within so many seconds; below, it is the start of the process. */
const TARGETS: readonly [entries: number, seconds: number][] = [
  [10_000_000, 10],
  [1_000_000, 2],
]
const PAGE = 50
const FILLER = fileURLToPath(new URL('./support/filler.js', import.meta.url))

interface Filled {
  stored: number
  /** The last acknowledged position of the group, at least. */
  group: number
  /** The personal key of one of its members. */
  key: string
}

test(`a server that was killed among ${ENTRIES} entries is back, and answers with the last ones`, {
  timeout: 3_600_000,
}, async t => {
  const directory = await mkdtemp(join(tmpdir(), 'im-recovery-'))
  // Stopped before its files are removed: while it merges them it makes new ones.
  const server = TestServer.idle(t, { IM_DATA_DIR: directory })
  t.after(() => rm(directory, { recursive: true, force: true }))
  const filled = await fillAndKill(directory)
  const bytes = await size(directory)

  const startedAt = performance.now()
  await server.start()
  const readyMs = performance.now() - startedAt
  const member = new Person(server, 'u00000', '', '', filled.key)
  const { status, body } = await member.api('GET', `/conversations/g:g0/messages?limit=${PAGE}`)
  const answeredMs = performance.now() - startedAt

  assert.equal(status, 200, JSON.stringify(body))
  const seqs = (body as { items: EntryJson[] }).items.map(({ seq }) => seq).sort((a, b) => a - b)
  const last = seqs.at(-1) ?? 0
  assert.ok(last >= filled.group, `${last} is the last entry; ${filled.group} was acknowledged`)
  assert.deepEqual(
    seqs,
    Array.from({ length: PAGE }, (_, nth) => last - PAGE + 1 + nth),
  )
  const seconds = (ms: number) => Math.round(ms / 10) / 100
  const target = TARGETS.find(([entries]) => ENTRIES >= entries)?.[1]
  figures(t, {
    entries: filled.stored,
    storedMiB: Math.round(bytes / 1024 / 1024),
    readySeconds: seconds(readyMs),
    firstPageSeconds: seconds(answeredMs),
    ...(target !== undefined && { targetSeconds: target }),
  })
  if (target !== undefined) assert.ok(readyMs < target * 1_000, `ready after ${readyMs} ms`)
})

/** What the child said when it had stored enough; it dies while it stores more. */
async function fillAndKill(directory: string): Promise<Filled> {
  const child = spawn(process.execPath, [FILLER, directory, String(ENTRIES)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(child, 'exit')
  const ended = exit.then(([code, signal]) => assert.fail(`the filler ended with ${code ?? signal}`))
  ended.catch(() => undefined)
  const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), ended])) as [string]
  child.kill('SIGKILL')
  await exit
  return JSON.parse(line) as Filled
}

async function size(directory: string): Promise<number> {
  const names = await readdir(directory, { recursive: true })
  const sizes = await Promise.all(names.map(async name => (await stat(join(directory, name))).size))
  return sizes.reduce((sum, bytes) => sum + bytes, 0)
}
