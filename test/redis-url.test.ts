/** The address of Redis is read in one place, and no secret of it is told. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { openRedis } from '../storage/redis/open.ts'
import { surveyRedis } from '../storage/redis/survey.ts'
import type { Told } from '../storage/redis/trouble.ts'
import { parseAddress, shown } from '../storage/redis/url.ts'
import { RedisServer } from './support/redis.ts'
import { absent } from './support/server.ts'

const skip = await absent('redis-server')
const SECRET = 's3cr/et@:%'

test('each form is read', () => {
  const at = (host: string, port: number) => ({ host, port })
  const secret = encodeURIComponent(SECRET)
  const rows: [string, object, string][] = [
    ['redis://r', { kind: 'alone', tls: false, host: 'r', port: 6379, database: 0 }, 'redis://r:6379/0'],
    [
      `rediss://im:${secret}@[::1]:7000/3`,
      { kind: 'alone', tls: true, username: 'im', password: SECRET, host: '::1', port: 7000, database: 3 },
      'rediss://[::1]:7000/3',
    ],
    [
      'redis://:plain@pass@r/',
      { kind: 'alone', tls: false, password: 'plain@pass', host: 'r', port: 6379, database: 0 },
      'redis://r:6379/0',
    ],
    [
      `redis+sentinel://im:${secret}@s1,s2:26380/main/2`,
      {
        ...{ kind: 'sentinel', tls: false, username: 'im', password: SECRET, name: 'main', database: 2 },
        sentinels: [at('s1', 26379), at('s2', 26380)],
      },
      'redis+sentinel://s1:26379,s2:26380/main/2',
    ],
    [
      'rediss+cluster://a:1,b',
      { kind: 'cluster', tls: true, seeds: [at('a', 1), at('b', 6379)] },
      'rediss+cluster://a:1,b:6379',
    ],
  ]
  for (const [url, address, safe] of rows) {
    assert.deepEqual(parseAddress(url), address, url)
    assert.equal(shown(parseAddress(url)), safe)
  }
  assert.deepEqual(parseAddress('redis://im@r', 'given'), { ...parseAddress('redis://im:x@r'), password: 'given' })
})

test('what cannot be gone by is refused in a sentence that says what, and no secret', () => {
  const rows: [string, RegExp][] = [
    ['', /one of the forms redis:/],
    [`http://im:${SECRET}@r`, /one of the forms/],
    [`redis://im:hunter2@`, /has a host that is not/],
    [`redis://im:hunter2@r:70000`, /has a host that is not/],
    [`redis://im:hunter2@a,b`, /use redis\+sentinel/],
    [`redis://im:hunter2@r/one`, /database of a Redis is a number/],
    [`redis://im:hunter2@r/1/2`, /at most \/database/],
    [`redis://hunter2@r`, /names a user and no password/],
    [`redis://im:hunter2%@r`, /% that encodes nothing/],
    [`redis+sentinel://im:hunter2@s1`, /comes \/name/],
    [`redis+cluster://im:hunter2@a/1`, /no numbered databases/],
  ]
  for (const [url, says] of rows)
    assert.throws(
      () => parseAddress(url),
      (error: Error) => says.test(error.message) && !/hunter2|s3cr/.test(error.message),
      url,
    )
})

test('user, password and database are used, and neither a right nor a wrong password is told', { skip }, async t => {
  const directory = mkdtempSync(join(tmpdir(), 'im-secret-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const file = join(directory, 'password')
  const server = await RedisServer.start(t)
  await server.ask('ACL', 'SETUSER', 'im', 'on', `>${SECRET}`, '~*', '&*', '+@all')
  await server.ask('ACL', 'SETUSER', 'default', 'resetpass', '>other', 'on')
  const url = `redis://im@127.0.0.1:${server.port}/5`
  const told: Told[] = []
  const open = async (password: string) => {
    writeFileSync(file, `${password}\n`)
    const opened = await openRedis({ url, passwordFile: file, node: 'a', tell: what => told.push(what) })
    t.after(() => opened[Symbol.asyncDispose]())
    return opened
  }
  const right = await open(SECRET)
  assert.equal(right.bus.healthy && right.leases.healthy, true)
  assert.deepEqual(await right.leases.get(['s']), [[]])
  const wrong = await open('hunter2')
  assert.equal(wrong.bus.healthy || wrong.leases.healthy, false)
  assert.equal(await wrong.leases.get(['s']), undefined)
  assert.match(told.find(({ says }) => says)?.says ?? '', /WRONGPASS/)
  assert.doesNotMatch(JSON.stringify([told, right.address, wrong.address]), /hunter2|s3cr/)
  await assert.rejects(openRedis({ url, passwordFile: join(directory, 'none'), node: 'a' }), /cannot be read: ENOENT/)
  await assert.rejects(open(''), /is empty/)
})

test('Sentinels are asked with a password of their own', { skip }, async t => {
  const directory = mkdtempSync(join(tmpdir(), 'im-secret-'))
  t.after(() => rmSync(directory, { recursive: true }))
  const master = await RedisServer.start(t)
  const sentinel = await RedisServer.sentinel(t, master)
  await master.ask('CONFIG', 'SET', 'requirepass', 'that of Redis')
  await sentinel.ask('ACL', 'SETUSER', 'default', 'resetpass', `>${SECRET}`)
  const [passwordFile, sentinelPasswordFile] = ['redis', 'sentinel'].map(name => join(directory, name))
  assert.ok(passwordFile && sentinelPasswordFile)
  writeFileSync(passwordFile, 'that of Redis\n')
  writeFileSync(sentinelPasswordFile, `${SECRET}\n`)
  const access = { url: `redis+sentinel://127.0.0.1:${sentinel.port}/main`, passwordFile }
  assert.equal((await surveyRedis({ ...access, sentinelPasswordFile })).role, 'master')
  await assert.rejects(surveyRedis(access), error => !`${error}`.includes(SECRET))
  const opened = await openRedis({ ...access, sentinelPasswordFile, node: 'a' })
  t.after(() => opened[Symbol.asyncDispose]())
  assert.equal(opened.bus.healthy && opened.leases.healthy, true)
})
