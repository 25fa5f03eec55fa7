/** `im export` and `im import`: everything moves to an empty directory, and the server goes on there. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { Totals } from '../server/archive/tally.ts'
import { openStorage } from '../storage/open.ts'
import { conversation, range, recalls, says, seq } from './contracts/ground.ts'
import { open, planOf, served } from './support/damage.ts'
import { begin, im } from './support/im.ts'
import { lived } from './support/lived.ts'
import { entryOf, rest } from './support/person.ts'
import { Chance } from './support/proof.ts'
import { TestServer } from './support/server.ts'

async function place(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'im-moved-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return directory
}
const totalsIn = async (file: string) =>
  JSON.parse((await readFile(file, 'utf8')).trim().split('\n').at(-1) ?? '') as Totals

test('everything moves, to the letter, and people go on where they were', { timeout: 120_000 }, async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await lived(server, 5)
  const histories = { alice: await alice.history('g:ops'), bob: await bob.history('g:ops') }
  await server.stop()
  const files = await place(t)
  const first = join(files, 'first')
  const exported = await im(server.dir, 'export', first, '--json')
  assert.equal(exported.code, 0, exported.errors)
  assert.equal((await stat(first)).mode & 0o777, 0o600)
  const totals = JSON.parse(exported.out) as Totals
  assert.deepEqual(totals, await totalsIn(first))
  assert.ok(totals.entries.count >= 8 && totals.repeats.count >= 5 && totals.records.count >= 20, exported.out)

  const moved = TestServer.idle(t)
  const imported = await im(moved.dir, 'import', first)
  assert.equal(imported.code, 0, imported.errors)
  const second = join(files, 'second')
  assert.equal((await im(moved.dir, 'export', second)).code, 0)
  assert.ok((await readFile(first)).equals(await readFile(second)))
  const doctor = await im(moved.dir, 'doctor')
  assert.match(doctor.out, /ok +database: /)

  await moved.start()
  for (const person of [alice, bob]) Object.assign(person, { server: moved })
  assert.deepEqual({ alice: await alice.history('g:ops'), bob: await bob.history('g:ops') }, histories)
  const again = await alice.api('POST', '/conversations/g:ops/messages', { text: '2 八点见', clientMessageId: 'c2' })
  assert.deepEqual([again.status, (again.body as { seq: number }).seq], [200, histories.alice[2]?.seq])
  const recalled = await alice.api('POST', '/conversations/g:ops/messages', { text: '2 八点见', clientMessageId: 'c1' })
  assert.deepEqual([recalled.status, (recalled.body as { code: string }).code], [409, 'client-message-id-reused'])
  const login = await rest(moved, 'POST', '/v1/token', { refreshToken: alice.refreshToken })
  assert.equal(login.status, 200)

  const phone = await bob.connect(5)
  const seen: number[] = []
  while (seen.at(-1) !== histories.bob.at(-1)?.seq) {
    const publish = await phone.next('publish')
    const entry = entryOf(publish)
    if (entry.conversation === 'g:ops') seen.push(entry.seq)
    phone.ack('puback', publish.id ?? 0)
  }
  assert.deepEqual(seen, range(2, 7), 'what waited for the phone comes once and in order')
})

test('a running server is exported as it is, and goes on', { timeout: 120_000 }, async t => {
  const server = await TestServer.start(t)
  const { alice } = await lived(server, 5)
  const file = join(await place(t), 'export')
  const exported = await im(server.dir, 'export', file)
  assert.equal(exported.code, 0, exported.errors)
  assert.equal((await alice.api('POST', '/conversations/g:ops/messages', { text: 'after' })).status, 201)
  const texts = (await readFile(file, 'utf8')).split('\n').filter(line => line.startsWith('{"kind":"entry"'))
  assert.ok(texts.some(line => line.includes('5 八点见')) && !texts.some(line => line.includes('"after"')))
  assert.ok(!exported.out.includes(alice.key) && !texts.join().includes('2 八点见'), 'what was taken back is not in it')
  assert.deepEqual(
    (await readdir(server.dir)).filter(name => name.startsWith('.picture-')),
    [],
  )
})

/** A store with many entries, made without a server. */
async function filled(t: TestContext, entries: number): Promise<string> {
  const directory = await place(t)
  await using storage = await openStorage({
    engine: 'level',
    directory,
    fsync: false,
    lowWaterBytes: 0,
    clock: { now: () => Date.now() },
  })
  const sends = range(1, entries).map(n =>
    storage.log.append(conversation(`g:ops-${n % 7}`), says(`${n} ${'x'.repeat(300)}`, `c${n}`)),
  )
  await Promise.all(sends)
  await storage.log.append(conversation('g:ops-1'), recalls(2), { retracts: seq(2) })
  return directory
}

test('an import that is killed goes on where it was, and no server starts before its end', {
  timeout: 120_000,
}, async t => {
  const source = await filled(t, 30_000)
  const file = join(await place(t), 'export')
  assert.equal((await im(source, 'export', file)).code, 0)
  const directory = await place(t)
  const half = join(directory, 'level.import')
  for (let killed = false; !killed; ) {
    // One that was too fast to be caught.
    await rm(join(directory, 'level'), { recursive: true, force: true })
    const { child, ended } = begin(directory, ['import', file])
    while (child.exitCode === null && (await bytesIn(half)) < 4_000_000) await setImmediate()
    child.kill('SIGKILL')
    killed = (await ended).code === null
  }
  assert.ok(existsSync(half) && !existsSync(join(directory, 'level')))

  await assert.rejects(open(directory), /What `im import` began in .* is not finished: run it again/)
  assert.match((await im(directory, 'doctor')).out, /problem +database: What `im import` began in .* is not finished/)
  const other = join(await place(t), 'other')
  assert.equal((await im(await filled(t, 10), 'export', other)).code, 0)
  assert.match(
    (await im(directory, 'import', other)).errors,
    /An import of another file \(SHA-256 [0-9a-f]{64}\) is not fin/,
  )
  const again = await im(directory, 'import', file, '--json')
  assert.equal(again.code, 0, again.errors + again.out)
  assert.ok((JSON.parse(again.out) as { from: number }).from > 1_000_000, again.out)
  const second = join(directory, 'second')
  assert.equal((await im(directory, 'export', second)).code, 0)
  assert.ok((await readFile(file)).equals(await readFile(second)))

  const chance = new Chance(1)
  const plan = await planOf(await copied(t, source), chance)
  await using storage = await open(directory)
  await using original = await open(source)
  assert.deepEqual(await served(storage, plan), await served(original, plan))
})

async function copied(t: TestContext, directory: string): Promise<string> {
  const copy = await place(t)
  await cp(directory, copy, { recursive: true })
  return copy
}

async function bytesIn(directory: string): Promise<number> {
  const names = await readdir(directory).catch(() => [])
  const sizes = await Promise.all(
    names.map(name =>
      stat(join(directory, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  )
  return sizes.reduce((sum, size) => sum + size, 0)
}

test('what is there is never written over, and a file that is not whole is refused before anything', async t => {
  const source = await filled(t, 20)
  const files = await place(t)
  const file = join(files, 'export')
  assert.equal((await im(source, 'export', file)).code, 0)
  const twice = await im(source, 'export', file)
  assert.deepEqual([twice.code, twice.errors], [1, `${file} is there already.\n`])
  const full = await im(source, 'import', file)
  assert.equal(full.code, 1)
  assert.match(full.errors, /level is there already: set IM_DATA_DIR to a directory without a database/)
  assert.equal((await im(source, 'import', file, '--verify')).code, 0)

  const empty = await place(t)
  const bytes = await readFile(file)
  const changed = Buffer.from(bytes)
  changed[bytes.length >> 1] = (changed[bytes.length >> 1] ?? 0) ^ 1
  const cases: [Buffer, RegExp][] = [
    [changed, /is damaged/],
    [bytes.subarray(0, bytes.length - 5), /its last line is cut off/],
    [bytes.subarray(0, bytes.lastIndexOf(10, bytes.length - 2) + 1), /it has no end/],
    [Buffer.from('{"kind":"export","format":2}\n'), /another format/],
    [Buffer.from('hello\n'), /is not an export/],
  ]
  for (const [content, says] of cases) {
    const bad = join(files, 'bad')
    await writeFile(bad, content)
    const { code, errors } = await im(empty, 'import', bad)
    assert.equal(code, 1)
    assert.match(errors, says)
  }
  assert.deepEqual(await readdir(empty), [])
  assert.match((await im(empty, 'export', join(files, 'none'))).errors, /holds no database/)
})

test('a store that differs from an export is told, with what differs', async t => {
  const source = await filled(t, 20)
  const file = join(await place(t), 'export')
  assert.equal((await im(source, 'export', file)).code, 0)
  {
    await using storage = await open(source)
    await storage.log.append(conversation('g:ops-2'), says('one more'))
  }
  const more = await im(source, 'import', file, '--verify')
  assert.equal(more.code, 1)
  assert.match(more.out, /There are 22 entries, not 21\.\n/)
  assert.match(more.out, /The 7 conversations are not the same ones\./)
})
