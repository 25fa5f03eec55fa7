/**
 * The people of the tests: accounts on a real server, each with the SDK in hand.
 *
 *     const { alice, bob } = await people(t, 'alice', 'bob')
 *     const { seq } = await alice.chat(bob).send('hi')
 *     await bob.hears({ kind: 'message', seq })
 *
 * The server runs in the test's own process unless another one is given (`TestServer.start` for a process of its own).
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import type { Entry, Gap } from '../protocol/messages.ts'
import {
  type Client,
  type ClientOptions,
  type Conversation,
  createClient,
  createGroup,
  type Group,
  type Tokens,
} from '../sdk/client.ts'
import { readConfig } from '../server/config.ts'
import { createServer } from '../server/server.ts'

export interface Ports {
  http: number
  mqtt: number
}

/** A server in this process, in memory, on free ports. */
export async function startServer(t: TestContext, env: Record<string, string> = {}): Promise<Ports> {
  const directory = mkdtempSync(join(tmpdir(), 'im-test-'))
  const standard = {
    IM_HTTP_PORT: '0',
    IM_MQTT_PORT: '0',
    IM_STORAGE: 'memory',
    IM_LOG_LEVEL: 'silent',
    IM_RATE_LIMITS: 'off',
  }
  const server = await createServer(readConfig({ IM_DATA_DIR: directory, ...standard, ...env }))
  t.after(async () => {
    await server[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true, force: true })
  })
  return server.ports
}

export interface Terms extends Omit<Partial<ClientOptions>, 'url'> {
  server?: Ports
  /** Where the SDK finds the HTTP port, if not there: a line that can be cut. */
  line?: { port: number }
  /** WebSocket on the HTTP port unless `tcp`. */
  over?: 'tcp'
}

type People<Names extends string[]> = Promise<Record<Names[number], Person>>

/** Registers people by their names and connects them; terms may stand before the names. */
export function people<Names extends string[]>(t: TestContext, ...names: Names): People<Names>
export function people<Names extends string[]>(t: TestContext, terms: Terms, ...names: Names): People<Names>
export async function people(t: TestContext, ...given: (string | Terms)[]): People<string[]> {
  const terms = given.find(one => typeof one === 'object') ?? {}
  const names = given.filter(one => typeof one === 'string')
  const server = terms.server ?? (await startServer(t))
  const all = names.map(name => new Person(t, server, name, terms))
  await Promise.all(all.map(person => person.arrives()))
  return Object.fromEntries(all.map(person => [person.id, person]))
}

/** Anything that a person's client was told. */
export type Heard = { kind: string; [field: string]: unknown }

const TOLD = ['entry', 'gap', 'live', 'refused', 'connected', 'disconnected', 'error'] as const

export class Person {
  readonly id: string
  readonly server: Ports
  readonly heard: Heard[] = []
  client: Client
  tokens: Tokens | undefined
  readonly #options: ClientOptions
  #waiting: (() => void)[] = []

  constructor(t: TestContext, server: Ports, id: string, { server: _, line, over, ...options }: Terms) {
    this.id = id
    this.server = server
    const url = `http://127.0.0.1:${line?.port ?? server.http}`
    this.#options = { url, ...(over && { mqttUrl: `mqtt://127.0.0.1:${server.mqtt}` }), ...options }
    this.client = this.#listening(createClient(this.#options))
    t.after(() => this.client.close())
  }

  async arrives(): Promise<void> {
    await this.client.register({ user: this.id, password: `${this.id} has a password` })
    await this.client.connect()
  }

  chat(withWhom: Person | string): Conversation {
    return this.client.conversation(typeof withWhom === 'string' ? withWhom : withWhom.id)
  }

  makesGroup(group: string, ...members: Person[]): Promise<Group> {
    const others = members.map(({ id }) => id)
    return createGroup(this.client, { group, name: group, ...(others.length > 0 && { members: others }) })
  }

  goesOffline(): Promise<void> {
    return this.client.disconnect()
  }

  comesBack(): Promise<void> {
    return this.client.connect()
  }

  /** The app is closed and started again, with what it kept. */
  async restarts(options: Partial<ClientOptions> = {}): Promise<void> {
    await this.client.close()
    this.client = this.#listening(
      createClient({ ...this.#options, ...(this.tokens && { login: this.tokens }), ...options }),
    )
    await this.client.connect()
  }

  /** Resolves with the first thing told, not asked for before, that has these fields. */
  async hears(fields: Partial<Heard>): Promise<Heard> {
    for (;;) {
      const at = this.heard.findIndex(event => includes(event, fields))
      if (at >= 0) return this.heard.splice(at, 1)[0] as Heard
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    }
  }

  /** The texts heard in a conversation so far, in the order they came. */
  texts(conversation: string): string[] {
    return this.heard
      .filter(event => event.kind === 'message' && event.conversation === conversation)
      .map(({ text }) => `${text}`)
  }

  /** A stock MQTT client of this person's, with a personal key; connected when it resolves. */
  async stock(t: TestContext, options: IClientOptions = {}): Promise<MqttClient> {
    const { key } = await this.client.call('createKey', { name: 'stock client' })
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${this.server.mqtt}`, {
      username: this.id,
      password: key,
      protocolVersion: 5,
      reconnectPeriod: 0,
      ...options,
    })
    t.after(() => client.endAsync(true))
    return client
  }

  /** All that was said, as the server has it. */
  async history(withWhom: Person | string): Promise<(Entry | Gap)[]> {
    return (await this.chat(withWhom).history({ after: 0, limit: 500 })).items
  }

  #listening(client: Client): Client {
    client.on('tokens', tokens => {
      this.tokens = tokens
    })
    for (const name of TOLD)
      client.on(name, event => {
        const fields = typeof event === 'object' && event !== null ? event : { event }
        this.heard.push({ kind: name, ...fields } as Heard)
        for (const resolve of this.#waiting.splice(0)) resolve()
      })
    return client
  }
}

/** Whether a value has all fields of a pattern, at every depth; arrays must be equal. */
function includes(value: unknown, pattern: unknown): boolean {
  if (typeof pattern !== 'object' || pattern === null || Array.isArray(pattern)) {
    try {
      assert.deepStrictEqual(value, pattern)
      return true
    } catch {
      return false
    }
  }
  if (typeof value !== 'object' || value === null) return false
  return Object.entries(pattern).every(([key, wanted]) => includes((value as Record<string, unknown>)[key], wanted))
}
