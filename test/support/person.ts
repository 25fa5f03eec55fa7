/** People with accounts on a server of a test, who speak raw MQTT and REST. */
import assert from 'node:assert/strict'
import type { Connect } from '../../bench/wire/packets.ts'
import { Script } from '../../bench/wire/script.ts'

export interface Ports {
  http: number
  mqtt: number
}

interface Serving {
  ports: Ports
}

export interface Answer {
  status: number
  headers: Headers
  // A test reads what it expects to be there.
  body: unknown
}

export async function rest(
  server: Serving,
  method: string,
  path: string,
  input?: unknown,
  token?: string,
  headers?: Record<string, string>,
): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${server.ports.http}${path}`, {
    method,
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(input !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(input !== undefined && { body: typeof input === 'string' ? input : JSON.stringify(input) }),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) }
}

export interface EntryJson {
  kind: string
  conversation: string
  seq: number
  n: number
  id: string
  from: string
  sentAt: number
  type?: string
  text?: string
  [field: string]: unknown
}

export class Person {
  readonly server: Serving
  readonly user: string
  readonly token: string
  readonly refreshToken: string
  readonly key: string

  constructor(server: Serving, user: string, token: string, refreshToken: string, key: string) {
    this.server = server
    this.user = user
    this.token = token
    this.refreshToken = refreshToken
    this.key = key
  }

  get inbox(): string {
    return `im/u/${this.user}/inbox`
  }

  async api(method: string, path: string, input?: unknown, headers?: Record<string, string>): Promise<Answer> {
    return rest(this.server, method, `/v1${path}`, input, this.key, headers)
  }

  /** A persistent session unless it says otherwise. */
  connect(version: 4 | 5 = 5, options: Partial<Connect> = {}): Promise<Script> {
    const properties = version === 5 ? { sessionExpiryInterval: 3600, ...options.properties } : undefined
    const connect = { clientId: 'phone', username: this.user, password: this.key, clean: false, ...options }
    return Script.connect({ port: this.server.ports.mqtt }, version, { ...connect, ...(properties && { properties }) })
  }

  async group(group: string, ...members: Person[]): Promise<void> {
    const { status, body } = await this.api('POST', '/groups', {
      group,
      name: group,
      ...(members.length > 0 && { members: members.map(({ user }) => user) }),
    })
    assert.equal(status, 201, JSON.stringify(body))
  }

  /** All of a conversation's history, read page by page. */
  async history(conversation: string, after = 0): Promise<EntryJson[]> {
    const all: EntryJson[] = []
    for (;;) {
      const { status, body } = await this.api(
        'GET',
        `/conversations/${conversation}/messages?after=${all.at(-1)?.seq ?? after}&limit=500`,
      )
      assert.equal(status, 200, JSON.stringify(body))
      const { items } = body as { items: EntryJson[] }
      if (items.length === 0) return all
      all.push(...items)
    }
  }
}

export const entryOf = ({ payload }: { payload: Buffer }) => JSON.parse(payload.toString()) as EntryJson
