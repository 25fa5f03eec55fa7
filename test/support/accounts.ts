/** Accounts with the real passwords, tokens and throttle, over memory storage. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import { type Core, type CoreSettings, createCore } from '../../core/features.ts'
import type { Passwords, Storage, Throttle, Tokens } from '../../core/ports.ts'
import { Fault, type FaultCode } from '../../protocol/faults.ts'
import type { OperationName, Request, Result } from '../../protocol/operations.ts'
import { passwords } from '../../server/passwords.ts'
import { noThrottle, throttle } from '../../server/throttle.ts'
import { openTokens } from '../../server/tokens.ts'
import { openStorage } from '../../storage/open.ts'
import { IM, TestClock, Told } from './core.ts'

export const HOUR = 3_600_000
export const DAY = 24 * HOUR
export const PASSWORD = 'correct horse'
export const random = { bytes: (count: number) => randomBytes(count) }

export interface House {
  core: Core
  storage: Storage
  clock: TestClock
  told: Told
  tokens: Tokens
}
interface Options {
  settings?: Partial<CoreSettings>
  throttled?: boolean
  passwords?: Passwords
  throttle?: Throttle
}

export async function house(t: TestContext, options: Options = {}): Promise<House> {
  const clock = new TestClock()
  const told = new Told()
  const storage = await openStorage({ engine: 'memory', clock })
  const tokens = await openTokens({ records: storage.records, scheduler: clock, random })
  const core = await createCore({
    log: storage.log,
    records: storage.records,
    scheduler: clock,
    random,
    passwords: options.passwords ?? passwords(),
    tokens,
    throttle: options.throttle ?? (options.throttled ? throttle() : noThrottle),
    connections: told,
    observer: { ran: () => {} },
    settings: {
      registration: 'open',
      recallWindowMs: 120_000,
      accessTokenMs: HOUR,
      refreshTokenMs: 30 * DAY,
      maxKeys: 3,
      ...options.settings,
    },
  })
  t.after(async () => {
    await core[Symbol.asyncDispose]()
    await storage[Symbol.asyncDispose]()
  })
  await core.accounts.ensureOwner(IM, 'owner of the house')
  return { core, storage, clock, told, tokens }
}

const ADDRESS = '192.0.2.1'

/** An operation that anyone may ask for. */
export const ask = <K extends OperationName>({ core }: House, name: K, input: Request<K>, address = ADDRESS) =>
  core.run(name, { kind: 'nobody', address }, input) as Promise<Result<K>>

/** An operation asked for with a Bearer token or key. */
export async function as<K extends OperationName>({ core }: House, token: string, name: K, input: Request<K>) {
  return (await core.run(name, await core.gatekeeper.bearer(token, ADDRESS), input)) as Result<K>
}

export const enter = (at: House, token: string, address = ADDRESS) => at.core.gatekeeper.bearer(token, address)
export const connect = (at: House, username: string, password: string, address = ADDRESS) =>
  at.core.gatekeeper.connect(username, password, address)

export const register = (at: House, user: string, name?: string) =>
  ask(at, 'register', { user, password: PASSWORD, ...(name && { name }) } as Request<'register'>)
export const logIn = (at: House, user: string, password = PASSWORD, address?: string) =>
  ask(at, 'logIn', { user, password } as Request<'logIn'>, address)
export const refresh = (at: House, refreshToken: string) => ask(at, 'refreshToken', { refreshToken })

export async function refused(code: FaultCode, work: Promise<unknown>): Promise<Fault> {
  const fault = await work.then(
    value => assert.fail(`not refused but gave ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown,
  )
  assert.ok(fault instanceof Fault, String(fault))
  assert.equal(fault.code, code, `${fault.message} ${String(fault.cause ?? '')}`)
  return fault
}
export const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'ok',
    thrown => Fault.from(thrown).code,
  )
