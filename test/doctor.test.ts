/** `im doctor`: what it finds in settings, directory, database, clock and ports, and what it says to do. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { remove } from '../core/ports.ts'
import { MEMBERS } from '../core/tables.ts'
import type { Check } from '../server/commands/checks.ts'
import { examine, type Report } from '../server/commands/doctor.ts'
import { checkClock } from '../server/commands/machine-checks.ts'
import type { Level } from '../storage/level/engine.ts'
import { openDirectory } from '../storage/open.ts'
import { OPS, range, says } from './contracts/ground.ts'
import { imageOf } from './support/damage.ts'
import { opened, place } from './support/level.ts'
import { TestServer } from './support/server.ts'

const IM = fileURLToPath(new URL('../server/im.js', import.meta.url))
const PORTS = { IM_HTTP_PORT: '0', IM_MQTT_PORT: '0' }
const KEY = 'e\0im/g:ops\0a4'

const looked = (directory: string, more: Record<string, string> = {}) =>
  examine({ IM_DATA_DIR: directory, ...PORTS, ...more })
const found = (report: Report, level: Check['level']) => report.checks.filter(check => check.level === level)

async function im(...options: string[]): Promise<{ code: number; out: string; errors: string }> {
  return imOf({}, ...options)
}
async function imOf(environment: Record<string, string>, ...options: string[]) {
  const child = spawn(process.execPath, [IM, ...options], { env: { ...PORTS, ...environment } })
  let [out, errors] = ['', '']
  child.stdout.on('data', bytes => {
    out += bytes
  })
  child.stderr.on('data', bytes => {
    errors += bytes
  })
  const [code] = (await once(child, 'close')) as [number]
  return { code, out, errors }
}

/** A group with a few messages, left by a server that was killed. */
async function lived(t: TestContext): Promise<string> {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  await alice.group('ops', bob)
  const phone = await bob.connect(5)
  await phone.subscribe(bob.inbox)
  for (const n of [1, 2, 3, 4, 5])
    await alice.api('POST', '/conversations/g:ops/messages', { text: `${n}`, clientMessageId: `c${n}` })
  await phone.disconnect()
  await server.kill()
  return imageOf(t, server.dir)
}

test('what is whole is said to be, and is the same afterwards', async t => {
  const directory = await lived(t)
  const report = await looked(directory)
  assert.deepEqual(
    report.checks.map(({ check, level }) => `${check} ${level}`),
    ['settings ok', 'directory ok', 'database ok', 'clock ok', 'ports ok', 'ports ok'],
    JSON.stringify(report),
  )
  assert.match(report.checks[2]?.says ?? '', /so are \d+ entries of \d conversations and \d+ records/)
  const { code, out } = await imOf({ IM_DATA_DIR: directory }, 'doctor')
  assert.equal(code, 0, out)
  assert.match(out, /^ok {7}settings: /)
  const json = await imOf({ IM_DATA_DIR: directory }, 'doctor', '--json')
  assert.equal((JSON.parse(json.out) as Report).ok, true)
})

test('a command that is none, or an option that it does not take, is wrong usage', async () => {
  for (const options of [[], ['docter'], ['constructor'], ['doctor', '--jason']]) {
    const { code, out, errors } = await im(...options)
    assert.deepEqual([code, out], [2, ''])
    assert.match(errors, /im doctor \[--json\]/)
  }
})

test('settings that are wrong are each named, and the others are gone by', async t => {
  const directory = await lived(t)
  const report = await looked(directory, { IM_HTTP_PORT: '99999', IM_MQTT_PROT: '1', IM_TLS_CERT: '/no/such' })
  const says = found(report, 'problem').map(({ says }) => says)
  assert.match(says.join('\n'), /IM_MQTT_PROT is not a setting; the nearest one is IM_MQTT_PORT/)
  assert.match(says.join('\n'), /IM_HTTP_PORT takes a port/)
  assert.ok(report.checks.some(({ check, level }) => check === 'database' && level === 'ok'))
  const tls = await looked(directory, { IM_TLS_CERT: '/no/such', IM_TLS_KEY: '/no/such' })
  assert.match(found(tls, 'problem')[0]?.says ?? '', /The certificate of IM_TLS_CERT and IM_TLS_KEY cannot be used/)
})

/** Changes rows behind the storage's back, as a mistake of a program would: the files stay whole. */
async function changed(t: TestContext, directory: string, change: (level: Level) => Promise<unknown>): Promise<string> {
  const image = await imageOf(t, directory)
  const level = await openDirectory(image)
  await change(level)
  await level.close()
  return image
}
async function flipped(level: Level, key: string): Promise<void> {
  const value = Buffer.from((await level.get(key)) ?? assert.fail(`no row ${JSON.stringify(key)}`))
  value[value.length - 1] = (value.at(-1) ?? 0) ^ 1
  await level.put(key, value)
}
const anyOf = async (level: Level, first: string) => (await level.keys({ gte: first, limit: 1 }).all())[0] ?? ''

// biome-ignore format: a table, a row a line
const ROWS: [change: (level: Level) => Promise<unknown>, says: RegExp][] = [
  [level => flipped(level, KEY), /conversation g:ops of app im, entry 4 cannot be read \(.*checksum/],
  [level => level.del(KEY), /conversation g:ops of app im, entry 4 is missing, as are all before entry 5/],
  [async level => level.put(KEY, (await level.get('e\0im/g:ops\0a3')) ?? Buffer.alloc(0)), /entry 4 cannot be read/],
  [level => level.del('t\0im/g:ops'), /conversation g:ops of app im: its end is recorded at entry 0, and lies at 6/],
  [level => level.del('e\0im/g:ops\0a6'), /its end is recorded at entry 6, and lies at 5/],
  [level => level.del('d\0im/g:ops\0alice\0c3'), /the mark of message c3 by alice does not find entry 4/],
  [async level => level.del(await anyOf(level, 'i\0members\0')), /record .* of table members is missing from an index/],
  [async level => level.del(await anyOf(level, 'r\0keys\0')), /index byHash of table keys at .* names a record that is missing/],
  [level => level.put('x', Buffer.alloc(9)), /row "x" is of no kind that is known/],
]

test('rows that are damaged, missing or at odds with others are named in words, with what to do', async t => {
  const directory = await lived(t)
  for (const [change, says] of ROWS) {
    const report = await looked(await changed(t, directory, change))
    const problems = found(report, 'problem')
    assert.ok(
      problems.some(problem => says.test(problem.says)),
      `${says}: ${JSON.stringify(report.checks)}`,
    )
    assert.ok(!report.ok && problems.every(({ todo }) => todo?.includes('restore a backup')))
  }
})

test('an index that names what is elsewhere is told', async t => {
  const directory = await lived(t)
  const image = await imageOf(t, directory)
  const { level, storage } = await opened(t, image)
  const key = await anyOf(level, 'i\0members\0')
  const value = (await level.get(key)) ?? assert.fail('no index row')
  const [, , , , partition = '', at = ''] = key.split('\0').slice(1)
  await storage.records.write([remove(MEMBERS, partition, at)])
  await level.put(key, value)
  await storage[Symbol.asyncDispose]()
  assert.match(
    JSON.stringify(found(await looked(image), 'problem')),
    /index byMember of table members at .* is missing/,
  )
})

test('a torn end and a witness that cannot be read are warnings: nothing is missing', async t => {
  const directory = await lived(t)
  const files = join(directory, 'level')
  const log = (await readdir(files)).find(name => name.endsWith('.log')) ?? ''
  await writeFile(join(files, log), Buffer.concat([await readFile(join(files, log)), Buffer.from([1, 2, 3, 4, 5])]))
  await truncate(join(directory, 'last-commit'), 3)
  const report = await looked(directory)
  assert.ok(report.ok)
  const warnings = found(report, 'warning')
  assert.deepEqual(
    warnings.map(({ says }) => /ends in a torn write|last-commit/.exec(says)?.[0]),
    ['ends in a torn write', 'last-commit'],
  )
  assert.ok(warnings.every(({ todo }) => todo?.startsWith('Start the server')))
})

test('a lost name of the manifest is given back by what the doctor says', async t => {
  const directory = await lived(t)
  const current = join(directory, 'level', 'CURRENT')
  await truncate(current)
  const [problem] = found(await looked(directory), 'problem')
  const [, name] = /printf '(MANIFEST-\d+)\\n'/.exec(problem?.todo ?? '') ?? assert.fail(problem?.todo)
  await writeFile(current, `${name}\n`)
  assert.ok((await looked(directory)).ok)
})

test('a damaged block of a table is told with the rows that it holds', async t => {
  const directory = await place(t)
  const { level, storage } = await opened(t, directory)
  await Promise.all(range(1, 500).map(n => storage.log.append(OPS, says(`${n} ${'x'.repeat(300)}`, `c${n}`))))
  await level.close()
  await (await openDirectory(directory)).close()
  const files = join(directory, 'level')
  const table = (await readdir(files)).find(name => name.endsWith('.ldb')) ?? assert.fail('no table')
  const bytes = await readFile(join(files, table))
  const at = bytes.length >> 1
  bytes[at] = (bytes[at] ?? 0) ^ 1
  await writeFile(join(files, table), bytes)
  const [problem, skipped] = (await looked(directory)).checks.filter(({ check }) => check === 'database')
  assert.match(problem?.says ?? '', /block at byte \d+ does not fit its checksum \(rows behind ".+" up to ".+"\)/)
  assert.equal(skipped?.level, 'skipped')
})

test('a running server is told, its ports count as its own, and its database is left alone', async t => {
  const server = await TestServer.start(t)
  const ports = { IM_HTTP_PORT: `${server.ports.http}`, IM_MQTT_PORT: `${server.ports.mqtt}` }
  const report = await looked(server.dir, ports)
  assert.ok(report.ok, JSON.stringify(report))
  assert.match(found(report, 'skipped')[0]?.says ?? '', /a server runs on it/)
  assert.match(report.checks.at(-1)?.says ?? '', /is taken, as it is by the server that runs/)
})

test('a port that another program has is a problem, a directory that others can read a warning', async t => {
  const directory = await lived(t)
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.after(() => other.close())
  const { port } = other.address() as { port: number }
  await chmod(directory, 0o755)
  const report = await looked(directory, { IM_MQTT_PORT: `${port}` })
  assert.match(
    found(report, 'problem')[0]?.says ?? '',
    /\(IM_MQTT_PORT\) cannot be listened on: another program has it/,
  )
  assert.equal(found(report, 'warning')[0]?.todo, `chmod go= '${directory}'`)
})

test('room below the low-water mark is a problem, and a directory that is none too', async t => {
  const directory = await place(t)
  const full = await looked(directory, { IM_DISK_LOW_WATER_MB: '1048576' })
  assert.match(
    found(full, 'problem')[0]?.says ?? '',
    /at 1048576 MiB \(IM_DISK_LOW_WATER_MB\) nothing more is accepted/,
  )
  await writeFile(join(directory, 'file'), '')
  assert.match(found(await looked(join(directory, 'file')), 'problem')[0]?.says ?? '', /is not a directory/)
  assert.ok((await looked(join(directory, 'later'))).ok)
})

test('a clock behind the newest entry is a warning, one of another age a problem', () => {
  const now = Date.UTC(2026, 10, 21)
  const levels = [
    [now, now - 1],
    [now, now + 30_000],
    [now, now + 90_000],
    [0, 0],
  ].map(([at = 0, newest = 0]) => {
    const checks: Check[] = []
    checkClock(at, newest, checks)
    return checks[0]?.level
  })
  assert.deepEqual(levels, ['ok', 'ok', 'warning', 'problem'])
})
