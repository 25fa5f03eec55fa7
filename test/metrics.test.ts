/** What `GET /metrics` of a real server tells of the process, its disk and its storage. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { getHeapStatistics } from 'node:v8'
import { type ConversationKey, put, type Storage, table } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import type { Sender, Seq } from '../protocol/ids.ts'
import { readConfig } from '../server/config.ts'
import { createServer } from '../server/server.ts'
import { memoryLimit } from '../server/telemetry/process.ts'
import { VERSION } from '../server/version.ts'
import { observed, type StorageRequest } from '../storage/observed.ts'
import { openStorage } from '../storage/open.ts'
import { certify } from './support/certificate.ts'
import { opened, place } from './support/level.ts'
import { metrics, read } from './support/metrics.ts'
import { absent, TestServer } from './support/server.ts'

const OPS = 'im/g:ops' as ConversationKey
const NOTES = table<{ text: string }>('notes')

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'im-test-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function start(t: TestContext, directory: string, more: Record<string, string> = {}, storage?: Storage) {
  const env = { IM_DATA_DIR: directory, IM_HTTP_PORT: '0', IM_MQTT_PORT: '0', IM_LOG_LEVEL: 'silent', ...more }
  const server = await createServer(readConfig(env), { ...(storage && { storage }) })
  t.after(() => server[Symbol.asyncDispose]())
  return server
}

test('a server tells its version, its limits, that it is ready, and what room the disk has', async t => {
  const server = await TestServer.start(t)
  const told = await metrics(server)
  assert.equal(told(`im_build_info{version="${VERSION}"}`), 1)
  assert.equal(told('im_ready'), 1)
  assert.equal(told('im_heap_limit_bytes'), getHeapStatistics().heap_size_limit)
  assert.ok(Number(told('im_memory_limit_bytes')) > Number(told('process_resident_memory_bytes')))
  const { bavail, bsize } = statfsSync(server.dir)
  assert.ok(Math.abs(Number(told('im_disk_free_bytes')) / (bavail * bsize) - 1) < 0.2)
  assert.equal(told('im_disk_low_water_bytes'), 256 * 1024 * 1024)
  assert.equal(told('im_certificate_end_timestamp_seconds'), undefined)
})

test('memory is limited by the container, where it sets a limit that is one', () => {
  assert.equal(memoryLimit(512, 2_048), 512)
  assert.equal(memoryLimit(0, 2_048), 2_048)
  assert.equal(memoryLimit(2 ** 64, 2_048), 2_048)
})

test('a server in memory has no disk to tell of', async t => {
  const told = await metrics(await start(t, folder(t), { IM_STORAGE: 'memory' }))
  assert.equal(told('im_ready'), 1)
  assert.deepEqual([told('im_disk_free_bytes'), told('im_disk_low_water_bytes')], [undefined, undefined])
  assert.equal(told('im_storage_requests_total{engine="memory",operation="append",outcome="failed"}'), 0)
})

test('a server is not ready while the disk is at its low-water mark, and is again when there is room', async t => {
  const directory = folder(t)
  const disk = { free: 1e12 }
  const { storage } = await opened(t, folder(t), { lowWaterBytes: 1e6, free: async () => disk.free })
  const server = await start(t, directory, {}, storage)
  assert.equal((await metrics(server))('im_ready'), 1)
  disk.free = 1e6
  assert.equal((await fetch(`http://127.0.0.1:${server.ports.http}/readyz`)).status, 507)
  assert.equal((await metrics(server))('im_ready'), 0)
  disk.free = 1e12
  assert.equal((await metrics(server))('im_ready'), 1)
})

test('a storage that does not answer is not ready, and holds up nobody who looks', { timeout: 30_000 }, async t => {
  const storage = await openStorage({ engine: 'memory', clock: Date })
  const server = await start(t, folder(t), {}, { ...storage, ready: () => new Promise<void>(() => {}) })
  assert.equal((await metrics(server))('im_ready'), 0)
})

test('a server with a certificate tells when it ends', { skip: await absent('openssl') }, async t => {
  const directory = folder(t)
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
  certify({ key, cert })
  const { ports } = await start(t, directory, { IM_TLS_CERT: cert, IM_TLS_KEY: key, IM_MQTTS_PORT: '0' })
  const body = await new Promise<string>((resolve, reject) => {
    const asked = request({ port: ports.http, path: '/metrics', rejectUnauthorized: false }, async answer => {
      let text = ''
      for await (const chunk of answer) text += chunk
      resolve(text)
    })
    asked.on('error', reject).end()
  })
  const end = Date.parse(new X509Certificate(readFileSync(cert)).validTo) / 1000
  assert.equal(read(body)('im_certificate_end_timestamp_seconds'), end)
  assert.ok(Math.abs(end - Date.now() / 1000 - 2 * 86_400) < 600)
})

test('requests to the storage are told by operation and outcome, and all of them with 0 before', async t => {
  const server = await TestServer.start(t)
  const total = (operation: string, outcome: string) =>
    `im_storage_requests_total{engine="level",operation="${operation}",outcome="${outcome}"}`
  const took = (part: string, operation: string, le = '') =>
    `im_storage_request_seconds_${part}{${le}engine="level",operation="${operation}"}`
  const before = await metrics(server)
  for (const operation of ['append', 'read', 'write'])
    for (const outcome of ['conflict', 'unavailable', 'timeout', 'failed'])
      assert.equal(before(total(operation, outcome)), 0, total(operation, outcome))
  const { alice } = await server.people('alice', 'bob')
  const begun = await metrics(server)
  for (const text of ['one', 'two', 'three'])
    assert.equal((await alice.api('POST', '/users/bob/messages', { text })).status, 201)
  const after = await metrics(server)
  assert.equal(Number(after(total('append', 'ok'))) - Number(begun(total('append', 'ok'))), 3)
  for (const operation of ['append', 'read', 'write']) {
    const count = after(took('count', operation))
    assert.ok(Number(count) > 0)
    assert.equal(after(total(operation, 'ok')), count)
    assert.equal(after(took('bucket', operation, 'le="+Inf",')), count)
    assert.ok(Number(after(took('sum', operation))) > 0)
    assert.ok(Number(after(took('bucket', operation, 'le="0.001",'))) <= Number(count))
  }
})

test('an outcome is what became of the request, not whether the caller liked it', async t => {
  const seen: string[] = []
  const tell = ({ operation, outcome }: StorageRequest) => seen.push(`${operation} ${outcome}`)
  const disk = { free: 1e12 }
  const { storage } = await opened(t, await place(t), { lowWaterBytes: 500, free: async () => disk.free })
  const watched = observed(storage, { engine: 'level', tell })
  const says = (text: string) => ({ kind: 'message', from: 'alice' as Sender, body: { type: 'text', text } }) as const
  const now = async (of: Promise<unknown>) => {
    await of.catch(() => {})
    return seen.splice(0)
  }
  assert.deepEqual(await now(watched.log.append(OPS, says('one'))), ['append ok'])
  assert.deepEqual(await now(watched.log.append(OPS, says('no'), { retracts: 9 as Seq })), ['append ok'])
  assert.deepEqual(await now(watched.log.read(OPS, { limit: 1 })), ['read ok'])
  assert.deepEqual(await now(watched.records.write([put(NOTES, 'p', 'k', { text: '' }, 7)])), ['write conflict'])
  assert.deepEqual(await now(watched.records.get(NOTES, 'p', 'k')), ['read ok'])
  disk.free = 0
  await assert.rejects(watched.ready())
  assert.deepEqual(await now(watched.log.append(OPS, says('two'))), ['append unavailable'])

  const broken = (cause: unknown): Storage => {
    const append = () => Promise.reject(cause)
    return { ...storage, log: { ...storage.log, append } as Storage['log'] }
  }
  const fault = new Fault('log-unavailable', {}, { cause: 'late' })
  const causes = (cause: unknown) => (cause === 'late' ? ('timeout' as const) : ('failed' as const))
  const late = observed(broken(fault), { engine: 'level', tell, causes })
  assert.deepEqual(await now(late.log.append(OPS, says('three'))), ['append timeout'])
  const bug = observed(broken(new TypeError('a bug')), { engine: 'level', tell, causes })
  assert.deepEqual(await now(bug.log.append(OPS, says('three'))), ['append failed'])
})

test('who asks an observed storage is answered in the turn that the engine answers', async t => {
  const storage = await openStorage({ engine: 'memory', clock: Date })
  t.after(() => storage[Symbol.asyncDispose]())
  const answers = new Map<string, unknown>()
  const spied = <Port extends object>(port: Port): Port =>
    new Proxy(port, {
      get(_, name: string) {
        return (...words: unknown[]) => {
          const answer = (port[name as keyof Port] as (...words: unknown[]) => unknown)(...words)
          answers.set(name, answer)
          return answer
        }
      },
    })
  const below = { ...storage, log: spied(storage.log), records: spied(storage.records) }
  const { log, records } = observed(below, { engine: 'memory', tell: () => {} })
  const asked = {
    append: log.append(OPS, { kind: 'message', from: 'alice' as Sender, body: {} }),
    read: log.read(OPS, { limit: 1 }),
    tails: log.tails([OPS]),
    seqAt: log.seqAt(OPS, 0),
    trim: log.trim(OPS, 1 as Seq),
    getMany: records.getMany(NOTES, []),
    scan: records.scan(NOTES, 'p', { limit: 1 }),
    write: records.write([]),
    follow: log.follow(() => {}),
  }
  await Promise.all(Object.values(asked))
  for (const [name, answer] of Object.entries(asked)) assert.equal(answer, answers.get(name), name)
})
