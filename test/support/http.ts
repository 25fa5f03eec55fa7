/** Requests to a server of a test, as they are on the wire. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { FAULTS } from '../../protocol/faults.ts'
import { type Ports, startServer } from '../harness.ts'

export interface Answer {
  status: number
  headers: Headers
  text: string
  json: Record<string, unknown>
}
export interface Ask {
  token?: string | undefined
  body?: unknown
  headers?: Record<string, string>
}

export async function ask({ http }: Ports, line: string, { token, body, headers = {} }: Ask = {}): Promise<Answer> {
  const [method = '', path = ''] = line.split(' ')
  const response = await fetch(`http://127.0.0.1:${http}${path}`, {
    method,
    redirect: 'manual',
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body !== undefined &&
      ({ body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body) } as object)),
  })
  const text = await response.text()
  const isJson = (response.headers.get('content-type') ?? '').includes('json')
  return { status: response.status, headers: response.headers, text, json: isJson && text ? JSON.parse(text) : {} }
}

/** A server with alice and bob, and alice's token. */
export async function start(
  t: TestContext,
  env: Record<string, string> = {},
): Promise<{ server: Ports; token: string }> {
  const server = await startServer(t, env)
  const enter = (user: string) =>
    ask(server, 'POST /v1/register', { body: { user, password: `${user} has a password` } })
  const [alice] = await Promise.all([enter('alice'), enter('bob')])
  return { server, token: alice.json.accessToken as string }
}

export function refused(answer: Answer, code: keyof typeof FAULTS): void {
  assert.equal(answer.json.code, code, answer.text)
  assert.equal(answer.status, FAULTS[code].http)
  assert.equal(answer.json.status, answer.status)
  assert.equal(answer.json.detail, FAULTS[code].says)
  assert.equal(answer.headers.get('content-type'), 'application/problem+json')
}
