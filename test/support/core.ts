/** The rules over memory storage, with a clock that tests move, and people and devices who ask. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import type { Caller, Device, User } from '../../core/caller.ts'
import { StoredEntry } from '../../core/entry.ts'
import { type Core, type CoreSettings, createCore } from '../../core/features.ts'
import type { Connections, Scheduler, Storage } from '../../core/ports.ts'
import type { LiveEvent } from '../../protocol/events.ts'
import { Fault, type FaultCode } from '../../protocol/faults.ts'
import { AppId, type ConversationId, type DeviceId, type Member, type UserId } from '../../protocol/ids.ts'
import type { OperationName, Request, Result } from '../../protocol/operations.ts'
import { openStorage } from '../../storage/open.ts'
import { type Disturbance, disturbed } from './storage.ts'

export const IM = AppId.parse('im')
export const id = (text: string) => text as ConversationId
const START = 1_790_000_000_000

/** Time stands still until a test moves it. */
export class TestClock implements Scheduler {
  #now = START
  readonly #timers = new Set<{ at: number; run: () => void }>()

  now(): number {
    return this.#now
  }
  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }
  soon(run: () => void): void {
    setImmediate(run)
  }
  advance(ms: number): void {
    this.#now += ms
    for (const timer of [...this.#timers].sort((a, b) => a.at - b.at)) {
      if (timer.at > this.#now || !this.#timers.delete(timer)) continue
      timer.run()
    }
  }
}

/** What was told to whom; a test waits for what it expects. */
export class Told implements Connections {
  readonly events: { user: string; event: LiveEvent }[] = []
  readonly values: { topic: string; payload: string }[] = []
  readonly ended: { member: Member; code: FaultCode; grant?: string }[] = []
  #woken: () => void = () => {}

  tell(_app: AppId, user: UserId, event: LiveEvent): void {
    this.events.push({ user, event })
    this.#woken()
  }
  retained(_app: AppId, topic: string, payload: Uint8Array): void {
    this.values.push({ topic, payload: Buffer.from(payload).toString('latin1') })
  }
  end(_app: AppId, member: Member, code: FaultCode, grant?: string): void {
    this.ended.push({ member, code, ...(grant !== undefined && { grant }) })
  }
  receipts(user: string) {
    return this.events.flatMap(({ user: to, event }) => (to === user && event.kind === 'receipt' ? [event] : []))
  }
  /** The receipts of a user, when there are that many. */
  async hears(user: string, count: number) {
    while (this.receipts(user).length < count)
      await new Promise<void>(resolve => {
        this.#woken = resolve
      })
    return this.receipts(user)
  }
}

const SETTINGS: CoreSettings = {
  registration: 'open',
  recallWindowMs: 120_000,
  accessTokenMs: 3_600_000,
  refreshTokenMs: 86_400_000,
  maxKeys: 10,
}

export interface World {
  core: Core
  storage: Storage
  clock: TestClock
  told: Told
  /** The same storage under rules that were started anew. */
  restart(settings?: Partial<CoreSettings>): Promise<Core>
}

export async function world(
  t: TestContext,
  how: Disturbance = {},
  settings: Partial<CoreSettings> = {},
): Promise<World> {
  const clock = new TestClock()
  const told = new Told()
  const storage = disturbed(await openStorage({ engine: 'memory', clock }), how)
  const open = (more: Partial<CoreSettings> = {}) =>
    createCore({
      log: storage.log,
      records: storage.records,
      scheduler: clock,
      random: { bytes: count => randomBytes(count) },
      // Argon2 would be most of the test's time; what is tested here knows no password.
      passwords: { hash: async text => hash(text), verify: async (held, text) => held === hash(text) },
      tokens: { sign: claims => JSON.stringify(claims), verify: text => JSON.parse(text) },
      throttle: { take: async () => {}, giveBack: async () => {}, forget: async () => {} },
      connections: told,
      observer: { ran: () => {} },
      settings: { ...SETTINGS, ...settings, ...more },
    })
  const core = await open()
  t.after(async () => {
    await core[Symbol.asyncDispose]()
    await storage[Symbol.asyncDispose]()
  })
  await core.accounts.ensureOwner(IM, 'correct horse')
  return { core, storage, clock, told, restart: open }
}
const hash = (text: string) => createHash('sha256').update(text).digest('hex')

/** Someone who asks; answers are as JSON. */
export class Asking {
  readonly caller: Caller
  #core: Core

  constructor(core: Core, caller: Caller) {
    this.#core = core
    this.caller = caller
  }
  async ask<K extends OperationName>(name: K, input: Request<K>): Promise<Result<K>> {
    const output = await this.#core.run(name, this.caller, input)
    return output === undefined ? (output as Result<K>) : JSON.parse(JSON.stringify(output))
  }
  /** As `ask`, for a request that must be refused. */
  async refused<K extends OperationName>(code: FaultCode, name: K, input: Request<K>): Promise<Fault> {
    const fault = await this.ask(name, input).then(
      result => assert.fail(`${name} was not refused but gave ${JSON.stringify(result)}`),
      (thrown: unknown) => thrown,
    )
    assert.ok(fault instanceof Fault, String(fault))
    assert.equal(fault.code, code, `${fault.message} ${JSON.stringify(fault.details)} ${fault.cause ?? ''}`)
    return fault
  }
  async send(conversation: string, text: string) {
    return this.ask('sendMessage', { conversation, text } as unknown as Request<'sendMessage'>)
  }
  async chat(user: string, text: string) {
    return this.ask('sendMessageToUser', { user, text } as unknown as Request<'sendMessageToUser'>)
  }
  async says(conversation: string): Promise<string[]> {
    const { items } = await this.ask('listMessages', { conversation, limit: 500 })
    return items.map(item => brief(item as Record<string, unknown>))
  }
  async unread(conversation: string): Promise<number> {
    return (await this.ask('getConversation', { conversation })).unread
  }
}

/** An entry in a word. */
export function brief(item: Record<string, unknown>): string {
  if (item.kind === 'gap') return `gap ${item.from}-${item.to}`
  if (item.retracted) return `${item.seq} ${item.from} gone by ${item.retracted}`
  if (item.kind === 'message') return `${item.seq} ${item.from}: ${item.text}`
  if (item.kind === 'members')
    return `${item.seq} ${item.by} ${item.action} ${(item.users as string[]).join(' ')}`.trim()
  return `${item.seq} ${item.from} ${item.kind} ${item.target ?? item.command ?? item.text ?? ''}`.trim()
}
export const raw = (item: unknown) => (item instanceof StoredEntry ? item.entry : item)

export async function people<N extends string>(
  { core }: Pick<World, 'core'>,
  ...names: N[]
): Promise<Record<N, Asking>> {
  const all = await Promise.all(
    names.map(async name => {
      await core.run('register', { kind: 'nobody', address: '127.0.0.1' }, { user: name, password: 'correct horse' })
      return [name, person(core, name)] as const
    }),
  )
  return Object.fromEntries(all) as Record<N, Asking>
}
export function person(core: Core, name: string): Asking {
  const user = name as UserId
  const caller: User = { kind: 'user', app: IM, user, member: user, grant: 'g', address: '127.0.0.1' }
  return new Asking(core, caller)
}
export function thing(core: Core, name: string): Asking {
  const device = name as DeviceId
  const caller: Device = { kind: 'device', app: IM, device, member: `d:${name}`, grant: 'g', address: '127.0.0.1' }
  return new Asking(core, caller)
}
