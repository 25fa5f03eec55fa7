/** The process as an operator meets it: start, refusal to start, end, and start again. */
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import mqtt from 'mqtt'
import { WebSocket } from 'ws'
import { certify } from './support/certificate.ts'
import { rest } from './support/person.ts'
import { absent, TestServer } from './support/server.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const MAIN = join(ROOT, 'dist/server/main.js')

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'im-test-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** A start that must fail: its exit code and what it says. */
async function fails(
  t: TestContext,
  env: Record<string, string>,
): Promise<{ code: number; says: string; out: string }> {
  const standard = {
    PATH: process.env.PATH,
    IM_HTTP_PORT: '0',
    IM_MQTT_PORT: '0',
    IM_DATA_DIR: folder(t),
    IM_LOG_LEVEL: 'silent',
  }
  const child = spawn(process.execPath, [MAIN], { env: { ...standard, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let says = ''
  let out = ''
  child.stderr.on('data', bytes => (says += bytes))
  child.stdout.on('data', bytes => (out += bytes))
  const [code] = (await once(child, 'close')) as [number]
  return { code, says, out }
}

test('SIGTERM ends the process with 0, also with people connected', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  const client = await alice.connect(5)
  const told = client.next('disconnect')
  assert.equal(await server.stop(), 0)
  assert.equal((await told).code, 0x8b)
})

test('an unknown setting and bad values stop the start, one sentence each', async t => {
  const { code, says, out } = await fails(t, { IM_HTTP_PROT: '1', IM_FSYNC: 'maybe' })
  assert.equal(code, 1)
  assert.equal(out, '')
  assert.deepEqual(says.trim().split('\n'), [
    'IM_HTTP_PROT is not a setting; the nearest one is IM_HTTP_PORT.',
    'IM_FSYNC takes on or off, not "maybe".',
  ])
})

test('a port in use, a data directory in use and a bad certificate stop the start with one sentence', async t => {
  const server = await TestServer.start(t)
  const port = await fails(t, { IM_MQTT_PORT: String(server.ports.mqtt) })
  assert.equal(port.code, 1)
  assert.match(port.says, /^Port \d+ on 127\.0\.0\.1 \(IM_MQTT_PORT\) cannot be listened on: it is in use\.\n$/)
  const directory = await fails(t, { IM_DATA_DIR: server.dir })
  assert.equal(directory.code, 1)
  assert.match(directory.says, /^The data directory .* is in use by another process\.\n$/)
  const certificate = await fails(t, { IM_TLS_CERT: '/nowhere.pem', IM_TLS_KEY: '/nowhere.pem' })
  assert.equal(certificate.code, 1)
  assert.match(certificate.says, /^The certificate of IM_TLS_CERT and IM_TLS_KEY cannot be used: .*\n$/)
})

test("the first start writes the owner's password for its owner alone, once, and it works", async t => {
  const server = await TestServer.start(t)
  const path = join(server.dir, 'owner-password')
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.ok(server.log.includes(path))
  const password = readFileSync(path, 'utf8').trim()
  assert.ok(password.length >= 16 && !server.log.includes(password))
  assert.equal((await rest(server, 'POST', '/v1/login', { user: 'owner', password })).status, 200)

  await server.stop()
  rmSync(path)
  await server.start()
  assert.ok(!existsSync(path))
  assert.equal((await rest(server, 'POST', '/v1/login', { user: 'owner', password })).status, 200)
})

test("a password by setting is the owner's, and no file is written", async t => {
  const server = await TestServer.start(t, { IM_OWNER_PASSWORD: 'as it pleases' })
  assert.ok(!existsSync(join(server.dir, 'owner-password')))
  assert.equal((await rest(server, 'POST', '/v1/login', { user: 'owner', password: 'as it pleases' })).status, 200)
})

test('after kill -9 it starts again with accounts, tokens and messages', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice', 'bob')
  const sent = await alice.api('POST', '/users/bob/messages', { text: 'kept' })
  assert.equal(sent.status, 201)
  await server.kill()
  await server.start()
  assert.deepEqual(
    (await alice.history('u:alice:bob')).map(entry => entry.text),
    ['kept'],
  )
  assert.equal((await rest(server, 'GET', '/v1/me', undefined, alice.token)).status, 200)
})

test('sockets past the limit are closed at once, and the rest go on', async t => {
  const server = await TestServer.start(t, { IM_MAX_CONNECTIONS: '3' })
  const open = () => connect(server.ports.mqtt, '127.0.0.1')
  const held = [open(), open(), open()]
  t.after(() => {
    for (const socket of held) socket.destroy()
  })
  await Promise.all(held.map(socket => once(socket, 'connect')))
  const extra = open()
  extra.on('error', () => {})
  await once(extra, 'close')
  assert.ok(held.every(socket => !socket.destroyed))
  // Who looks after the server does not take it for dead.
  assert.equal((await rest(server, 'GET', '/healthz')).status, 200)
  const webSocket = new WebSocket(`ws://127.0.0.1:${server.ports.http}/mqtt`, 'mqtt')
  const [, { statusCode }] = (await once(webSocket, 'unexpected-response')) as [unknown, IncomingMessage]
  assert.equal(statusCode, 503)
})

test('with a certificate HTTP is HTTPS, and MQTT comes over TLS and secure WebSocket', {
  skip: await absent('openssl'),
}, async t => {
  const directory = folder(t)
  const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
  certify({ key, cert })
  const server = await TestServer.start(t, {
    IM_TLS_CERT: cert,
    IM_TLS_KEY: key,
    IM_MQTTS_PORT: '0',
    IM_OWNER_PASSWORD: 'as it pleases',
  })
  const ports = server.ports as { http: number; mqtt: number; mqtts: number }
  const { accessToken } = JSON.parse(
    execFileSync(
      'curl',
      [
        '-sk',
        `https://localhost:${ports.http}/v1/login`,
        '-H',
        'content-type: application/json',
        '-d',
        '{"user":"owner","password":"as it pleases"}',
      ],
      { encoding: 'utf8' },
    ),
  ) as { accessToken: string }
  for (const url of [`mqtts://127.0.0.1:${ports.mqtts}`, `wss://127.0.0.1:${ports.http}/mqtt`]) {
    const client = await mqtt.connectAsync(url, {
      username: 'owner',
      password: accessToken,
      rejectUnauthorized: false,
      reconnectPeriod: 0,
    })
    assert.ok(client.connected)
    await client.endAsync()
  }
})

test('npm start compiles what is stale, becomes the server, and ends as it ends', async t => {
  const copy = folder(t)
  for (const part of ['protocol', 'core', 'storage', 'broker', 'api', 'server', 'tsconfig.json', 'package.json'])
    cpSync(join(ROOT, part), join(copy, part), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  const main = join(copy, 'dist/server/main.js')

  await npmStart(t, copy)
  const compiled = statSync(main).mtimeMs
  await npmStart(t, copy)
  assert.equal(statSync(main).mtimeMs, compiled, 'compiled again without need')
  const later = new Date(Date.now() + 1_000)
  utimesSync(join(copy, 'server/version.ts'), later, later)
  await npmStart(t, copy)
  assert.ok(statSync(main).mtimeMs > compiled, 'not compiled again')
})

async function npmStart(t: TestContext, cwd: string): Promise<void> {
  const own = { IM_HTTP_PORT: '0', IM_MQTT_PORT: '0', IM_DATA_DIR: join(cwd, 'data'), IM_LOG_LEVEL: 'silent' }
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, ...own }
  const child = spawn('npm', ['start', '--silent'], { cwd, env, stdio: ['ignore', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  assert.equal(JSON.parse(line).event, 'ready')
  child.kill('SIGTERM')
  assert.deepEqual(await exit, [0, null])
}
