/** `im user …` and `im app …`: accounts and apps, in the hands of who runs the server, while it runs and while it does not. */
import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { begin, im } from './support/im.ts'
import { rest } from './support/person.ts'
import { TestServer } from './support/server.ts'

const typed = (directory: string, input: string, ...options: string[]) => begin(directory, options, input).ended
const logIn = async (server: TestServer, user: string, password: string, app = 'im') =>
  (await rest(server, 'POST', '/v1/login', { user, password, app })).status

for (const running of [true, false])
  test(`accounts are made, helped and logged out ${running ? 'while the server runs' : 'without one'}`, {
    timeout: 120_000,
  }, async t => {
    const server = await TestServer.start(t, { IM_REGISTRATION: 'open' })
    const { alice } = await server.people('alice')
    if (!running) await server.stop()
    const made = await typed(server.dir, 'battery staple\n', 'user', 'create', 'bob', '--name', 'Bob 八')
    assert.deepEqual([made.code, made.out, made.errors], [0, 'bob is an account of im.\n', ''])
    const twice = await typed(server.dir, 'battery staple', 'user', 'create', 'bob')
    assert.deepEqual(
      [twice.code, twice.errors],
      [1, 'The id is or was in use, and ids are never given again. (id-taken)\n'],
    )
    const short = await typed(server.dir, 'short', 'user', 'create', 'carol')
    assert.deepEqual([short.code, short.errors.includes('password: ')], [1, true])
    assert.ok(!short.errors.includes('short"'))

    const listed = await im(server.dir, 'user', 'list', '--json')
    const users = listed.out
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as { user: string; name: string })
    assert.deepEqual(
      users.map(({ user, name }) => [user, name]),
      [
        ['alice', 'alice'],
        ['bob', 'Bob 八'],
        ['owner', 'owner'],
      ],
    )
    assert.match((await im(server.dir, 'user', 'list')).out, /^alice {2}\d{4}-.*Z {2}alice\n/)

    const keys = await im(server.dir, 'user', 'keys', 'alice')
    const [, key] = /^([0-9a-f]{16}) {2}.* {2}test\n$/.exec(keys.out) ?? assert.fail(keys.out)
    assert.equal((await im(server.dir, 'user', 'delete-key', 'alice', key as string)).code, 0)
    assert.match((await im(server.dir, 'user', 'delete-key', 'alice', key as string)).errors, /no-such-key/)
    const out = await im(server.dir, 'user', 'log-out', 'alice', '--keys')
    assert.equal(out.out, 'alice of im: 1 log-ins are ended, 0 keys are deleted.\n')
    assert.match((await typed(server.dir, 'correct horse', 'user', 'set-password', 'nobody')).errors, /no-such-user/)
    assert.equal((await typed(server.dir, 'correct horse', 'user', 'set-password', 'alice')).code, 0)

    assert.equal((await typed(server.dir, 'owner of another', 'app', 'create', 'shop')).code, 0)
    assert.equal((await typed(server.dir, 'owner of another', 'app', 'create', 'shop')).code, 1)
    assert.deepEqual(
      (await im(server.dir, 'app', 'list')).out.split('\n').map(line => line.split(' ')[0]),
      ['im', 'shop', ''],
    )
    assert.equal((await typed(server.dir, 'battery staple', 'user', 'create', 'bob', '--app', 'shop')).code, 0)
    assert.match(
      (await typed(server.dir, 'battery staple', 'user', 'create', 'bob', '--app', 'none')).errors,
      /not-allowed/,
    )

    if (!running) await server.start()
    assert.equal((await rest(server, 'POST', '/v1/token', { refreshToken: alice.refreshToken })).status, 401)
    assert.equal((await rest(server, 'GET', '/v1/me', undefined, alice.key)).status, 401)
    assert.equal(await logIn(server, 'alice', 'alice has a password'), 401)
    assert.equal(await logIn(server, 'alice', 'correct horse'), 200)
    assert.equal(await logIn(server, 'bob', 'battery staple'), 200)
    assert.equal(await logIn(server, 'owner', 'owner of another', 'shop'), 200)
  })

test('who is logged out with their keys is disconnected at once', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  const phone = await alice.connect(5)
  assert.equal((await im(server.dir, 'user', 'log-out', 'alice', '--keys')).code, 0)
  assert.equal((await phone.next('disconnect')).code, 0x87)
  await phone.closed
})

test("the door for commands is its owner's alone, and nonsense at it harms nobody", async t => {
  const server = await TestServer.start(t)
  const path = join(server.dir, 'control')
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  for (const bytes of [
    '{"name":"constructor","asked":{}}\n',
    '{"name":"listUsers","asked":{"app":"IM!"}}\n',
    'x\n',
    'y'.repeat(70_000),
  ]) {
    const socket = createConnection(path)
    let answer = ''
    socket.on('data', chunk => {
      answer += chunk
    })
    socket.on('error', () => {})
    socket.write(bytes)
    await new Promise(resolve => socket.on('close', resolve))
    assert.ok(answer === '' || 'fault' in JSON.parse(answer), answer)
  }
  assert.equal((await im(server.dir, 'app', 'list')).code, 0)
  await server.kill()
  await server.start()
  assert.equal((await im(server.dir, 'app', 'list')).code, 0)
})

test('a directory without a database is not made into one', async t => {
  const idle = TestServer.idle(t)
  const { code, errors } = await im(idle.dir, 'user', 'list')
  assert.deepEqual([code, errors], [1, `The data directory ${idle.dir} holds no database.\n`])
})

test('a command in two words, or a word too many, is wrong usage', async t => {
  const { dir } = TestServer.idle(t)
  for (const options of [
    ['user'],
    ['user', 'lost'],
    ['user', 'list', 'alice'],
    ['user', 'create'],
    ['export'],
    ['export', 'a', '--jason'],
  ]) {
    const { code, out, errors } = await im(dir, ...options)
    assert.deepEqual([code, out], [2, ''], options.join(' '))
    assert.match(errors, /im user create USER \[--app APP\] \[--name NAME\]/)
  }
})
