/** A POST with an Idempotency-Key happens once, whoever of its caller's repeats it, at whichever server, before and after a crash. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { ANSWERS, type Answer, Answers } from '../api/idempotency.ts'
import type { User } from '../core/caller.ts'
import type { Random } from '../core/ports.ts'
import type { OperationName } from '../protocol/operations.ts'
import { openStorage } from '../storage/open.ts'
import { IM, TestClock } from './support/core.ts'
import type { Person } from './support/person.ts'
import { TestServer } from './support/server.ts'

/** The whole file is asked of two servers, too: every request is then at the next of them. */
const makes = async (person: Person, key: string, name: string) => {
  const { status, body } = await person.api('POST', '/groups', { name }, { 'idempotency-key': key })
  return { status, ...(body as { group: string; code?: string }) }
}

test('of requests at once one is done, and all get its answer', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  const all = await Promise.all([1, 2, 3, 4].map(() => makes(alice, 'k-1', 'ops')))
  assert.deepEqual(new Set(all.map(({ status }) => status)), new Set([201]))
  assert.equal(new Set(all.map(({ group }) => group)).size, 1)
  assert.equal((await makes(alice, 'k-1', 'other')).code, 'malformed')
  assert.notEqual((await makes(bob, 'k-1', 'ops')).group, all[0]?.group)
  const { body } = await alice.api('GET', '/conversations')
  assert.equal((body as { items: unknown[] }).items.length, 1)
})

test('what was answered before a crash is answered again after it', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  const make = () => alice.api('POST', '/me/keys', { name: 'back office' }, { 'idempotency-key': 'k-1' })
  const first = await make()
  assert.equal(first.status, 201)
  await server.kill()
  await server.start()
  assert.deepEqual(await make().then(({ status, body }) => ({ status, body })), { status: 201, body: first.body })
})

// ---- in the middle of a crash, and over days ----

const chance: Random = { bytes: count => randomBytes(count) }
const ALICE = { kind: 'user', app: IM, user: 'alice', member: 'u/alice', grant: 'g', address: '' } as unknown as User
const SECRET = Buffer.from('{"key":"imk_a-secret-that-was-handed-out"}')
const HOURS = 3_600_000

class Servers {
  readonly clock = new TestClock()
  readonly storage = openStorage({ engine: 'memory', clock: this.clock })
  readonly #done = new Map<string, number>()

  constructor(t: TestContext) {
    t.after(async () => (await this.storage)[Symbol.asyncDispose]())
  }

  /** At another server each time. */
  async ask(key: string, act?: () => Promise<Answer>, name: OperationName = 'createKey'): Promise<Answer> {
    const { records } = await this.storage
    const once = new Answers({ records, scheduler: this.clock, random: chance }).slot(name, ALICE, key, {}, {})
    assert.ok(once)
    return once(async () => {
      this.#done.set(key, this.done(key) + 1)
      return act ? act() : { status: 201, body: SECRET }
    })
  }
  done(key: string): number {
    return this.#done.get(key) ?? 0
  }
  async kept() {
    const { records } = await this.storage
    return records.scan(ANSWERS, 'im/u/alice', { index: 'over', limit: 1_000 })
  }
  /** Time passes, with turns for whoever waits for it. */
  async passes(ms: number): Promise<void> {
    for (let at = 0; at < ms; at += 100) {
      this.clock.advance(100)
      await new Promise(resolve => setImmediate(resolve))
    }
  }
}

test('a repeat waits for who is at it, and where that one died does it once more', async t => {
  const servers = new Servers(t)
  const never = new Promise<Answer>(() => {})
  let began = () => {}
  const begun = new Promise<void>(resolve => {
    began = resolve
  })
  void servers.ask('k', () => {
    began()
    return never
  })
  await begun
  const repeat = servers.ask('k')
  await servers.passes(15_000)
  assert.equal(servers.done('k'), 1)
  await servers.passes(7_000)
  assert.deepEqual(await repeat, { status: 201, body: SECRET })
  assert.equal(servers.done('k'), 2)
})

test('who comes late with an answer takes nothing from who has done it since', async t => {
  const servers = new Servers(t)
  let ends = (_: Answer) => {}
  const first = servers.ask(
    'k',
    () =>
      new Promise(resolve => {
        ends = resolve
      }),
  )
  const second = servers.ask('k')
  await servers.passes(22_000)
  assert.deepEqual(await second, { status: 201, body: SECRET })
  ends({ status: 201, body: Buffer.from('{}') })
  await first
  assert.deepEqual(await servers.ask('k'), { status: 201, body: SECRET })
})

test('a refusal under a key may be tried again at once', async t => {
  const servers = new Servers(t)
  await assert.rejects(servers.ask('k', () => Promise.reject(new Error('no'))))
  assert.equal((await servers.ask('k')).status, 201)
})

test('for a day, with the same operation alone', async t => {
  const servers = new Servers(t)
  await servers.ask('k')
  servers.clock.advance(24 * HOURS - 1)
  await servers.ask('k')
  assert.equal(servers.done('k'), 1)
  await servers.ask('k', undefined, 'createGroup')
  assert.equal(servers.done('k'), 2)
  servers.clock.advance(1)
  await servers.ask('k')
  assert.equal(servers.done('k'), 3)
})

test('what is kept says neither the key nor the answer, and goes when it is over', async t => {
  const servers = new Servers(t)
  const KEY = 'a-key-of-the-client'
  await servers.ask(KEY)
  const [row] = await servers.kept()
  assert.equal(row?.row.status, 201)
  const text = JSON.stringify(row)
  const hidden = [
    KEY,
    SECRET.toString(),
    SECRET.toString('base64'),
    createHash('sha256').update(KEY).digest('base64url'),
  ]
  for (const said of hidden) assert.ok(!text.includes(said), said)
  for (let nth = 0; nth < 20; nth++) await servers.ask(`k${nth}`)
  servers.clock.advance(25 * HOURS)
  for (let nth = 0; nth < 6; nth++) {
    await servers.ask(`later ${nth}`)
    await servers.passes(1_000)
  }
  assert.equal((await servers.kept()).length, 6)
})
