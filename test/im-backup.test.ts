/** `im backup` and `im restore`: what a running server has acknowledged is in its backup, and comes back. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { alone, type Backup, complete, openStorage } from '../storage/open.ts'
import { conversation, range, says } from './contracts/ground.ts'
import { contentOf, load } from './support/backups.ts'
import { open } from './support/damage.ts'
import { begin, im } from './support/im.ts'
import { TestServer } from './support/server.ts'

async function place(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'im-backup-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return directory
}

test('a full backup and three incremental ones of a server at work hold all that it acknowledged before', {
  timeout: 300_000,
}, async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  await alice.group('ops', bob)
  const backups = join(await place(t), 'backups')
  const sending = load(alice)
  const before: Map<string, number>[] = []
  const made: { full: boolean; newFiles: number; files: number; newBytes: number }[] = []
  for (let nth = 0; nth < 4; nth++) {
    while (sending.acked.size < (nth + 1) * 150) await setImmediate()
    before.push(new Map(sending.acked))
    const { code, out, errors } = await im(server.dir, 'backup', backups, '--json')
    assert.equal(code, 0, errors)
    made.push(JSON.parse(out))
  }
  await sending.end()
  assert.deepEqual(
    made.map(({ full }) => full),
    [true, false, false, false],
  )
  assert.ok(
    made.slice(1).every(({ newFiles, files }) => newFiles < files),
    JSON.stringify(made),
  )
  assert.deepEqual(
    (await readdir(server.dir)).filter(name => name.startsWith('.picture-')),
    [],
  )

  for (const [nth, acked] of before.entries()) {
    const directory = await place(t)
    const { code, errors, out } = await im(directory, 'restore', backups, '--backup', `${nth + 1}`)
    assert.equal(code, 0, errors)
    assert.match(out, new RegExp(`is as it was at .* \\(backup 000${nth + 1} of`))
    const doctor = await im(directory, 'doctor', '--json')
    const checks = (JSON.parse(doctor.out) as { checks: { check: string; level: string }[] }).checks
    assert.deepEqual(
      checks.filter(({ check, level }) => check === 'database' && level !== 'ok'),
      [],
      doctor.out,
    )
    const content = await contentOf(directory)
    for (const [id, seq] of acked) assert.equal(content.get(id), seq, `${id} was acknowledged before backup ${nth + 1}`)
    for (const [id, seq] of content) assert.ok(!sending.acked.has(id) || sending.acked.get(id) === seq)
  }

  const back = TestServer.idle(t)
  assert.equal((await im(back.dir, 'restore', backups)).code, 0)
  await back.start()
  Object.assign(alice, { server: back })
  const { status, body } = await alice.api('POST', '/conversations/g:ops/messages', { text: 'again here' })
  assert.equal(status, 201)
  assert.ok((body as { seq: number }).seq > Math.max(...(before.at(-1) as Map<string, number>).values()))
})

/** Some tables of entries that cannot be compressed. */
async function filled(t: TestContext): Promise<string> {
  const directory = await place(t)
  const options = {
    engine: 'level',
    directory,
    fsync: false,
    lowWaterBytes: 0,
    clock: { now: () => Date.now() },
  } as const
  {
    await using storage = await openStorage(options)
    for (const at of range(0, 39))
      await Promise.all(
        range(1, 100).map(n =>
          storage.log.append(conversation(`g:ops-${n % 5}`), says(randomBytes(4_000).toString('hex'), `c${at}-${n}`)),
        ),
      )
  }
  // A table that was still being written when LevelDB closed is made of its log when it opens.
  await (await openStorage(options))[Symbol.asyncDispose]()
  return directory
}

async function exported(t: TestContext, directory: string): Promise<Buffer> {
  const file = join(await place(t), 'export')
  const { code, errors } = await im(directory, 'export', file)
  assert.equal(code, 0, errors)
  return readFile(file)
}

const numbered = (names: string[]) => names.filter(name => /^\d+\.(ldb|log)$/.test(name)).sort()

/** Killed when it has copied all of these, at a file behind them that nobody reads what it writes to. */
async function killed(directory: string, files: string, wanted: string[], ...options: string[]): Promise<void> {
  await mkdir(files, { recursive: true })
  await once(spawn('mkfifo', [join(files, 'CURRENT.half')]), 'close')
  const { child, ended } = begin(directory, options)
  while (numbered(await readdir(files)).length < wanted.length)
    if (child.exitCode !== null) assert.fail((await ended).errors)
  child.kill('SIGKILL')
  await ended
  await rm(join(files, 'CURRENT.half'))
  assert.deepEqual(numbered(await readdir(files)), wanted)
}

test('a backup and a restore that are killed go on where they were', { timeout: 120_000 }, async t => {
  const source = await filled(t)
  const backups = await place(t)
  const under = join(backups, 'unfinished', 'files')
  const other = await place(t)
  assert.equal((await im(source, 'backup', other)).code, 0)
  const wanted = numbered(await readdir(join(other, '0001', 'files')))
  const table = wanted.find(name => name.endsWith('.ldb')) ?? assert.fail('there is no table')
  await killed(source, under, wanted, 'backup', backups)
  const { ino } = await stat(join(under, table))
  assert.match((await im(await place(t), 'restore', backups)).errors, /There is no backup in/)
  const again = await im(source, 'backup', backups)
  assert.equal(again.code, 0, again.errors)
  const kept = await stat(join(backups, '0001', 'files', table))
  assert.deepEqual([kept.ino, kept.mode & 0o777], [ino, 0o600], 'what was copied is left')
  assert.deepEqual(await readdir(backups), ['0001'])

  const directory = await place(t)
  await killed(directory, join(directory, 'level.restore'), wanted, 'restore', backups)
  await assert.rejects(open(directory), /What `im restore` began in .* is not finished: run it again/)
  assert.equal((await im(directory, 'restore', backups)).code, 0)
  assert.ok((await exported(t, source)).equals(await exported(t, directory)))
  const twice = await im(directory, 'restore', backups)
  assert.deepEqual([twice.code, twice.errors.includes('is there already')], [1, true])
})

test('a damaged backup is not brought back, and a full one needs none before it', { timeout: 120_000 }, async t => {
  const source = await filled(t)
  const backups = await place(t)
  for (const option of [[], [], ['--full']]) assert.equal((await im(source, 'backup', backups, ...option)).code, 0)
  const lists = await Promise.all(
    ['0001', '0002', '0003'].map(
      async name => JSON.parse(await readFile(join(backups, name, 'backup.json'), 'utf8')) as Backup,
    ),
  )
  assert.deepEqual(
    lists.map(({ full }) => full),
    [true, false, true],
  )
  const table =
    lists[1]?.files.find(({ name, in: holder }) => name.endsWith('.ldb') && holder === '0001') ?? assert.fail()
  const path = join(backups, '0001', 'files', table.name)
  const bytes = await readFile(path)
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
  await writeFile(path, bytes)
  const damaged = await im(await place(t), 'restore', backups, '--backup', '2')
  assert.deepEqual([damaged.code, damaged.errors], [1, `The backup's file ${path} is missing or damaged.\n`])

  await rm(join(backups, '0001'), { recursive: true })
  await rm(join(backups, '0002'), { recursive: true })
  const directory = await place(t)
  assert.equal((await im(directory, 'restore', backups)).code, 0)
  assert.ok((await exported(t, source)).equals(await exported(t, directory)))
})

test('backups of one directory are made one after the other', async t => {
  const source = await filled(t)
  const backups = await place(t)
  const hold = await alone(backups)
  const refused = await im(source, 'backup', backups)
  assert.equal(refused.code, 1)
  assert.match(refused.errors, new RegExp(`Another backup is being made in .*, by process ${process.pid}`))
  const here = (await readFile(join(backups, 'lock'), 'utf8')).split(' ')[1]
  await hold.release()
  const { child, ended } = begin(source, ['app'])
  await ended
  await writeFile(join(backups, 'lock'), `${child.pid} ${here} 1\n`)
  assert.equal((await im(source, 'backup', backups)).code, 0, 'of a process that is gone')
})

test('a backup in another container is not taken for a dead one, nor its picture, until it is silent', async t => {
  const source = await filled(t)
  const backups = await place(t)
  const lock = join(backups, 'lock')
  const picture = join(source, '.picture-other')
  await mkdir(picture)
  // There every process is the first, here a process of that number lives, or none.
  for (const pid of [1, process.pid, 4_000_000]) {
    for (const file of [lock, join(picture, 'used')]) await writeFile(file, `${pid} elsewhere/pid:[1] abc\n`)
    assert.equal((await im(source, 'backup', backups)).code, 1, `${pid}`)
    assert.ok(existsSync(picture))
  }
  const silent = new Date(Date.now() - 61_000)
  for (const file of [lock, join(picture, 'used')]) await utimes(file, silent, silent)
  const killed = await alone(backups)
  await killed.release()
  assert.equal((await im(source, 'backup', backups)).code, 0)
  assert.ok(!existsSync(picture))
})

test('a backup that another has taken over gets no name', async t => {
  const backups = await place(t)
  await mkdir(join(backups, 'unfinished'))
  const hold = await alone(backups)
  await writeFile(join(backups, 'lock'), '1 elsewhere/pid:[1] abc\n')
  await assert.rejects(complete({ place: backups, hold }, { name: '0001' }), { message: /Another backup was begun/ })
  await hold.release()
  assert.deepEqual((await readdir(backups)).sort(), ['lock', 'unfinished'])
})

test('a damaged database is not backed up', async t => {
  const source = await filled(t)
  const damaged = await place(t)
  await cp(source, damaged, { recursive: true })
  const tables = (await readdir(join(damaged, 'level'))).filter(name => name.endsWith('.ldb'))
  const path = join(damaged, 'level', tables[0] as string)
  const bytes = await readFile(path)
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
  await writeFile(path, bytes)
  const backups = await place(t)
  const { code, errors } = await im(damaged, 'backup', backups)
  assert.equal(code, 1)
  assert.match(errors, new RegExp(`${tables[0]} is damaged`))
  assert.deepEqual(await readdir(backups), [])
})
