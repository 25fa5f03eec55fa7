/** How the SDK turns catalogue rows into HTTP requests, and answers and reason codes into refusals. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Account, type Tokens } from '../sdk/account.ts'
import { backoff } from '../sdk/connection.ts'
import { Emitter } from '../sdk/emitter.ts'
import { refusalOf } from '../sdk/refusal.ts'
import { asHttp, ask, type Fetch } from '../sdk/rest.ts'

const profile = { user: 'alice', name: 'Alice' }
const login = (n: number) => ({
  user: profile,
  accessToken: `access-${n}`,
  refreshToken: `refresh-${n}`,
  expiresIn: 3600,
})
const json = (status: number, body: unknown, headers = {}) => new Response(JSON.stringify(body), { status, headers })
const rest = (fetch: Fetch) => ({ url: 'http://test', timeoutMs: 1_000, fetch })

test('path, query and body of a request are told apart by the row', () => {
  const rows = [
    [asHttp('getMe', {}), { method: 'GET', path: '/v1/me' }],
    [
      asHttp('listMessages', {
        conversation: 'g:ops',
        after: 0,
        since: '2026-01-01T00:00:00+08:00',
        cursor: undefined,
      }),
      { method: 'GET', path: '/v1/conversations/g%3Aops/messages?after=0&since=2026-01-01T00%3A00%3A00%2B08%3A00' },
    ],
    [
      asHttp('sendMessage', { conversation: 'u:a:b', text: 'hi', clientMessageId: 'x' }),
      { method: 'POST', path: '/v1/conversations/u%3Aa%3Ab/messages', body: '{"text":"hi","clientMessageId":"x"}' },
    ],
    [asHttp('removeMember', { group: 'ops', user: 'bob' }), { method: 'DELETE', path: '/v1/groups/ops/members/bob' }],
  ]
  for (const [got, expected] of rows) assert.deepEqual(got, expected)
})

test('a problem becomes a refusal with its code, sentence, details and the time to wait', async () => {
  const fetch: Fetch = async () =>
    json(429, { code: 'too-many-requests', detail: 'Too many.', keys: 1 }, { 'retry-after': '7' })
  const refusal = { code: 'too-many-requests', says: 'Too many.', final: false, retryAfterMs: 7_000 }
  await assert.rejects(ask(rest(fetch), 'getMe', {}), (thrown: Error & typeof refusal) => {
    const { code, says, final, retryAfterMs } = thrown
    assert.deepEqual({ code, says, final, retryAfterMs }, refusal)
    return true
  })
})

test('a proxy that answers for the server, and a server that cannot be reached, are temporary', async () => {
  const html: Fetch = async () => new Response('<h1>Bad gateway</h1>', { status: 502 })
  const dead: Fetch = async () => Promise.reject(new TypeError('fetch failed'))
  await assert.rejects(ask(rest(html), 'getMe', {}), { code: 'unreachable', final: false })
  await assert.rejects(ask(rest(dead), 'getMe', {}), { code: 'unreachable', final: false })
})

test('a reason string names the fault where several share a reason code', () => {
  assert.equal(refusalOf('puback', 0x87, 'muted: The caller may not write in this group now.').code, 'muted')
  assert.equal(refusalOf('puback', 0x97).code, 'too-large')
  assert.equal(refusalOf('disconnect', 0xa0).code, 'token-expired')
  const unknown = refusalOf('puback', 0x83, 'too-funny: Jokes are over.')
  assert.deepEqual([unknown.code, unknown.says, unknown.final], ['too-funny', 'Jokes are over.', true])
})

test('tokens are renewed before they expire, once for all who ask at the time', async () => {
  let now = 1_000_000
  const asked: string[] = []
  const told: (Tokens | undefined)[] = []
  const fetch: Fetch = async (url, { headers, body }) => {
    asked.push(url.replace('http://test/v1', ''))
    if (url.endsWith('/me')) return json(200, { authorization: new Headers(headers).get('authorization') })
    if (url.endsWith('/token')) assert.deepEqual(JSON.parse(`${body}`), { refreshToken: 'refresh-1' })
    return json(200, login(url.endsWith('/token') ? 2 : 1))
  }
  const account = new Account({ rest: rest(fetch), now: () => now, changed: tokens => void told.push(tokens) })
  await account.logIn({ user: 'alice', password: 'secret' })
  assert.deepEqual(await account.call('getMe', {}), { authorization: 'Bearer access-1' })
  now += 3_590_000
  const [one] = await Promise.all([account.call('getMe', {}), account.call('getMe', {})])
  assert.deepEqual(one, { authorization: 'Bearer access-2' })
  assert.deepEqual(asked, ['/login', '/me', '/token', '/me', '/me'])
  assert.deepEqual(
    told.map(tokens => tokens?.refreshToken),
    ['refresh-1', 'refresh-2'],
  )
})

test('a log-in whose renewal is refused for good has ended; one that cannot be renewed now has not', async () => {
  const told: unknown[] = []
  const answers = [json(503, { code: 'log-unavailable' }), json(401, { code: 'token-revoked' })]
  const fetch: Fetch = async () => answers.shift() ?? json(500, {})
  const known = { app: 'im', user: 'alice', accessToken: 'a', refreshToken: 'r', expiresAt: 0 }
  const account = new Account({ rest: rest(fetch), now: () => 1, changed: tokens => void told.push(tokens) }, known)
  await assert.rejects(account.secret(), { code: 'log-unavailable' })
  assert.deepEqual(told, [])
  await assert.rejects(account.secret(), { code: 'token-revoked' })
  assert.deepEqual(told, [undefined])
  assert.throws(() => account.identity, { code: 'not-signed-in' })
})

test('a pause between attempts grows, has a limit, and is spread over its whole length', () => {
  assert.deepEqual(
    [0, 1, 2, 3, 50].map(attempt => backoff(attempt, 1)),
    [250, 500, 1_000, 2_000, 30_000],
  )
  assert.equal(backoff(50, 0.5), 15_000)
})

test('a listener that throws is told of, and the others hear the event all the same', async () => {
  const failed: unknown[] = []
  const emitter = new Emitter<{ said: string }>(thrown => void failed.push(thrown))
  const heard: string[] = []
  emitter.on('said', () => {
    throw 'at once'
  })
  emitter.on('said', () => Promise.reject('later'))
  const end = emitter.on('said', text => void heard.push(text))
  await emitter.emit('said', 'hello')
  end()
  await emitter.emit('said', 'again')
  assert.deepEqual(heard, ['hello'])
  assert.deepEqual(failed, ['at once', 'later', 'at once', 'later'])
})
