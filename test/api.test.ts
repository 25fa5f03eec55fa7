/** The HTTP side at its door: a real server, requests in, answers out. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { addresses } from '../api/app.ts'
import { startServer } from './harness.ts'
import { type Answer, ask, refused, start } from './support/http.ts'

test('a first send answers 201 and a repeat 200, with the same entry to the byte', async t => {
  const { server, token } = await start(t)
  const send = () =>
    ask(server, 'POST /v1/users/bob/messages', { token, body: { text: 'hi 你好', clientMessageId: 'a1' } })
  const first = await send()
  const again = await send()
  assert.deepEqual([first.status, again.status], [201, 200])
  assert.equal(again.text, first.text)
  const page = await ask(server, 'GET /v1/conversations/u%3Abob%3Aalice/messages?limit=10', { token })
  assert.equal(page.text, `{"items":[${first.text}]}`)
  assert.equal(page.headers.get('cache-control'), 'no-store')
  refused(
    await ask(server, 'POST /v1/users/bob/messages', { token, body: { text: 'ho', clientMessageId: 'a1' } }),
    'client-message-id-reused',
  )
})

test('a status without a body has none', async t => {
  const { server, token } = await start(t)
  await ask(server, 'POST /v1/users/bob/messages', { token, body: { text: 'hi' } })
  const read = await ask(server, 'PUT /v1/conversations/u:alice:bob/read', { token, body: { upTo: 1 } })
  assert.deepEqual([read.status, read.text], [204, ''])
})

test('a token is needed, and a wrong one is told apart from none', async t => {
  const { server } = await start(t)
  const none = await ask(server, 'GET /v1/me')
  refused(none, 'not-signed-in')
  assert.equal(none.headers.get('www-authenticate'), 'Bearer realm="im"')
  const wrong = await ask(server, 'GET /v1/me', { token: 'wrong' })
  refused(wrong, 'bad-credentials')
  assert.match(wrong.headers.get('www-authenticate') ?? '', /error="invalid_token"/)
  refused(await ask(server, 'GET /v1/me', { headers: { authorization: 'Basic YTpi' } }), 'bad-credentials')
})

test('what anyone may do does not fail for a stale token', async t => {
  const { server } = await start(t)
  const body = { user: 'alice', password: 'alice has a password' }
  assert.equal((await ask(server, 'POST /v1/login', { token: 'stale', body })).status, 200)
})

test('bodies that are not a JSON object in UTF-8 are refused', async t => {
  const { server, token } = await start(t)
  const line = 'POST /v1/users/bob/messages'
  for (const body of [
    '[]',
    '"x"',
    'null',
    '{',
    '{"text":1e999}',
    '{"text":"x","ext":{"__proto__":1}}',
    new Uint8Array([0x7b, 0xff, 0x7d]),
  ])
    refused(await ask(server, line, { token, body }), 'malformed')
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=latin1'])
    refused(await ask(server, line, { token, body: '{"text":"x"}', headers: { 'content-type': type } }), 'malformed')
  refused(
    await ask(server, line, { token, body: '{"text":"x"}', headers: { 'content-encoding': 'gzip' } }),
    'malformed',
  )
  const fine = { token, body: '{"text":"x"}', headers: { 'content-type': 'Application/JSON; charset="UTF-8"' } }
  assert.equal((await ask(server, line, fine)).status, 201)
})

test('a body past the limit is refused, announced or not, and the server reads on for others', async t => {
  const { server, token } = await start(t)
  refused(await ask(server, 'POST /v1/groups', { token, body: ' '.repeat(400_000) }), 'too-large')
  const headers = {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    'transfer-encoding': 'chunked',
  }
  const chunked = request({ port: server.http, path: '/v1/groups', method: 'POST', headers })
  chunked.on('error', () => {})
  for (let i = 0; i < 40; i++) chunked.write(Buffer.alloc(16 * 1024, 0x20))
  const [response] = (await once(chunked, 'response')) as [{ statusCode: number }]
  assert.equal(response.statusCode, 413)
  chunked.destroy()
  assert.equal((await ask(server, 'GET /v1/me', { token })).status, 200)
})

test('a field has one place: path, query or body', async t => {
  const { server, token } = await start(t)
  const path = '/v1/conversations/u:alice:bob/messages'
  await ask(server, 'POST /v1/users/bob/messages', { token, body: { text: 'hi' } })
  refused(await ask(server, `POST ${path}`, { token, body: { text: 'x', conversation: 'u:alice:carol' } }), 'malformed')
  refused(await ask(server, `POST ${path}?text=x`, { token, body: {} }), 'malformed')
  refused(await ask(server, `GET ${path}?limit=1&limit=2`, { token }), 'malformed')
  const unknown = await ask(server, `GET ${path}?nothing=1`, { token })
  refused(unknown, 'malformed')
  assert.deepEqual((unknown.json.issues as { path: string[] }[])[0]?.path, ['nothing'])
  refused(await ask(server, `GET ${path}?limit=501`, { token }), 'malformed')
  refused(await ask(server, 'GET /v1/users/%ff', { token }), 'malformed')
})

test('unknown addresses and methods are told apart, and OPTIONS and HEAD are answered', async t => {
  const { server, token } = await start(t)
  refused(await ask(server, 'GET /v1/nothing', { token }), 'not-found')
  refused(await ask(server, 'GET /V1/me', { token }), 'not-found')
  const wrong = await ask(server, 'DELETE /v1/me', { token })
  refused(wrong, 'method-not-allowed')
  const allowed = (answer: Answer) => (answer.headers.get('allow') ?? '').split(', ').sort()
  assert.deepEqual(allowed(wrong), ['GET', 'HEAD', 'OPTIONS', 'PATCH'])
  const options = await ask(server, 'OPTIONS /v1/me')
  assert.equal(options.status, 204)
  assert.deepEqual(allowed(options), ['GET', 'HEAD', 'OPTIONS', 'PATCH'])
  const head = await ask(server, 'HEAD /v1/me', { token })
  assert.deepEqual([head.status, head.text], [200, ''])
  assert.ok(Number(head.headers.get('content-length')) > 10)
})

test('pages of other origins may call, or those alone that a setting names', async t => {
  const { server } = await start(t)
  const headers = { origin: 'https://a.example', 'access-control-request-method': 'PUT' }
  const open = await ask(server, 'OPTIONS /v1/me', { headers })
  assert.equal(open.headers.get('access-control-allow-origin'), '*')
  assert.match(open.headers.get('access-control-allow-headers') ?? '', /authorization/)
  assert.equal((await ask(server, 'GET /v1/me', { headers })).headers.get('access-control-allow-origin'), '*')

  const strict = await startServer(t, { IM_CORS_ORIGINS: 'https://b.example' })
  assert.equal((await ask(strict, 'OPTIONS /v1/me', { headers })).headers.get('access-control-allow-origin'), null)
  const named = await ask(strict, 'OPTIONS /v1/me', { headers: { ...headers, origin: 'https://b.example' } })
  assert.equal(named.headers.get('access-control-allow-origin'), 'https://b.example')
  assert.match(named.headers.get('vary') ?? '', /origin/i)
})

test('too many guesses are told when to come back', async t => {
  const { server } = await start(t, { IM_RATE_LIMITS: 'on' })
  const guess = () => ask(server, 'POST /v1/login', { body: { user: 'alice', password: 'a guess' } })
  let answer = await guess()
  for (let i = 0; i < 10 && answer.status !== 429; i++) answer = await guess()
  refused(answer, 'too-many-requests')
  assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/)
})

test('alive, ready and metrics', async t => {
  const { server, token } = await start(t)
  assert.equal((await ask(server, 'GET /healthz')).status, 200)
  assert.equal((await ask(server, 'GET /readyz')).status, 200)
  await ask(server, 'POST /v1/users/bob/messages', { token, body: { text: 'hi' } })
  const { text } = await ask(server, 'GET /metrics')
  for (const name of [
    'im_connections',
    'im_send_seconds_count 1',
    'im_append_seconds',
    'nodejs_eventloop_lag_seconds',
    'im_http_requests_total{route="sendMessageToUser",status="201"} 1',
  ])
    assert.ok(text.includes(name), `${name} is not among the metrics`)
  refused(await ask(server, 'GET /metrics', { headers: { 'x-forwarded-for': '203.0.113.9' } }), 'not-allowed')
})

test('with a token set, metrics need it', async t => {
  const server = await startServer(t, { IM_METRICS_TOKEN: 'let me see' })
  refused(await ask(server, 'GET /metrics'), 'not-signed-in')
  refused(await ask(server, 'GET /metrics', { token: 'let me see too' }), 'bad-credentials')
  assert.equal((await ask(server, 'GET /metrics', { token: 'let me see' })).status, 200)
})

// biome-ignore format: a table, a row a line
const SEEN: [trusted: string[], socket: string, header: string | undefined, seen: string][] = [
  [[], '10.0.0.1', '1.2.3.4', '10.0.0.1'],
  [['10.0.0.0/8'], '10.0.0.1', '1.2.3.4', '1.2.3.4'],
  [['10.0.0.0/8'], '::ffff:10.0.0.1', '1.2.3.4', '1.2.3.4'],
  [['10.0.0.0/8'], '10.0.0.1', '6.6.6.6, 1.2.3.4, 10.0.0.2', '1.2.3.4'],
  [['10.0.0.0/8'], '11.0.0.1', '1.2.3.4', '11.0.0.1'],
  [['10.0.0.0/8'], '10.0.0.1', undefined, '10.0.0.1'],
  [['10.0.0.0/8'], '10.0.0.1', 'unknown', '10.0.0.1'],
  [['10.0.0.0/8'], '10.0.0.1', '1.2.3.4, not-an-address', '10.0.0.1'],
  [['::1'], '::1', '2001:db8::7', '2001:db8::7'],
]

test('X-Forwarded-For is believed from trusted proxies only, and never past the first stranger', () => {
  for (const [trusted, remoteAddress, header, seen] of SEEN) {
    const req = { socket: { remoteAddress }, headers: { 'x-forwarded-for': header } }
    assert.equal(addresses(trusted)(req as unknown as Parameters<ReturnType<typeof addresses>>[0]), seen)
  }
})

test('a WebSocket opens at /mqtt for the subprotocol mqtt, and nowhere else', async t => {
  const server = await startServer(t)
  const upgrade = async (path: string, protocol: string): Promise<string> => {
    const socket = connect(server.http, '127.0.0.1')
    t.after(() => socket.destroy())
    socket.write(
      `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n${protocol}\r\n\r\n`,
    )
    const [bytes] = (await once(socket, 'data')) as [Buffer]
    return bytes.toString().toLowerCase()
  }
  const opened = await upgrade('/mqtt', 'sec-websocket-protocol: mqtt')
  assert.ok(opened.startsWith('http/1.1 101') && opened.includes('sec-websocket-protocol: mqtt\r\n'))
  assert.ok(
    (await upgrade('/mqtt?x=1', 'sec-websocket-protocol: other, mqttv3.1')).includes(
      'sec-websocket-protocol: mqttv3.1\r\n',
    ),
  )
  assert.ok((await upgrade('/other', 'sec-websocket-protocol: mqtt')).startsWith('http/1.1 404'))
  assert.ok((await upgrade('/mqtt', 'sec-websocket-protocol: chat')).startsWith('http/1.1 400'))
})
