/** A POST with an Idempotency-Key happens once, whoever of its caller's repeats it, at whichever server, before and after a crash. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import type { User } from '../core/caller.ts'
import { ANSWERS } from '../core/idempotency/answers.ts'
import { KeptAnswers } from '../core/idempotency/idempotency.ts'
import type { Answer, Random, Storage } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import type { OperationName } from '../protocol/operations.ts'
import { openStorage } from '../storage/open.ts'
import { IM, TestClock } from './support/core.ts'
import { type Person, rest } from './support/person.ts'
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

test('a send under a key is stored once, by whichever server', async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  const say = (text: string) => alice.api('POST', `/users/${bob.user}/messages`, { text }, { 'idempotency-key': 'k-1' })
  const all = await Promise.all([say('hello'), say('hello'), say('hello')])
  assert.deepEqual(all.map(({ status }) => status).sort(), [200, 200, 201])
  assert.deepEqual(
    all.map(({ body }) => (body as { seq: number }).seq),
    [1, 1, 1],
  )
  assert.equal(((await say('other')).body as { code: string }).code, 'client-message-id-reused')
})

test('a refusal under a key may be tried again', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  const make = () => alice.api('POST', '/groups', { name: 'ops', members: ['carol'] }, { 'idempotency-key': 'k-1' })
  assert.equal(((await make()).body as { code: string }).code, 'no-such-user')
  await server.people('carol')
  assert.equal((await make()).status, 201)
})

test('what anyone may ask takes no key: nothing of a password is kept', async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  const wish = { user: 'bob', password: 'bob has a password' }
  const enter = () => rest(server, 'POST', '/v1/register', wish, alice.token, { 'idempotency-key': 'k-1' })
  assert.equal((await enter()).status, 201)
  assert.equal(((await enter()).body as { code: string }).code, 'id-taken')
})

// ---- in the middle of a crash, and over days ----

const chance: Random = { bytes: count => randomBytes(count) }
const ALICE = { kind: 'user', app: IM, user: 'alice', member: 'u/alice', grant: 'g', address: '' } as unknown as User
const SECRET = Buffer.from('{"key":"imk_a-secret-that-was-handed-out"}')
const HOURS = 3_600_000
const GIVEN = { status: 201, body: SECRET }

class Servers {
  readonly clock: TestClock
  /** Servers started before the last death can write nothing. */
  #deaths = 0
  /** Nothing can be written. */
  away = false
  readonly #done = new Map<string, number>()
  readonly #storage: Storage

  private constructor(clock: TestClock, storage: Storage) {
    this.clock = clock
    this.#storage = storage
  }

  static async start(t: TestContext): Promise<Servers> {
    const clock = new TestClock()
    const storage = await openStorage({ engine: 'memory', clock })
    t.after(() => storage[Symbol.asyncDispose]())
    return new Servers(clock, storage)
  }

  /** At another server each time. */
  ask(key: string, act: () => Promise<Answer> = async () => GIVEN, name: OperationName = 'createKey'): Promise<Answer> {
    const { clock } = this
    const born = this.#deaths
    const { records } = this.#storage
    const write: typeof records.write = (...all) =>
      this.away || born < this.#deaths ? Promise.reject(new Fault('log-unavailable')) : records.write(...all)
    const needs = { get: records.get.bind(records), scan: records.scan.bind(records), write }
    const server = new KeptAnswers({ records: needs, scheduler: clock, random: chance })
    return server.once(name, ALICE, key, { name: 'back office' }, () => {
      this.#done.set(key, this.done(key) + 1)
      return act()
    })
  }
  die(): void {
    this.#deaths++
  }
  done(key: string): number {
    return this.#done.get(key) ?? 0
  }
  /** When somebody is at it. */
  async doing(key: string, times = 1): Promise<void> {
    while (this.done(key) < times) await turn()
  }
  kept() {
    return this.#storage.records.scan(ANSWERS, 'over', { index: 'over', limit: 1_000 })
  }
  /** Time passes, with turns for whoever waits for it. */
  async passes(ms: number): Promise<void> {
    for (let at = 0; at < ms; at += 50) {
      this.clock.advance(50)
      await turn()
    }
  }
}
const turn = () => new Promise(resolve => setImmediate(resolve))

/** Something that is done when the test says so. */
function held() {
  let ends: (answer: Answer) => void = () => {}
  const answer = new Promise<Answer>(resolve => {
    ends = resolve
  })
  return { act: () => answer, ends: () => ends(GIVEN) }
}

test('a repeat waits for who is at it, for half a minute, however long that takes', async t => {
  const servers = await Servers.start(t)
  const { act, ends } = held()
  const first = servers.ask('k', act)
  await servers.doing('k')
  const impatient = assert.rejects(servers.ask('k'), { code: 'conflict' })
  await servers.passes(31_000)
  await impatient
  const repeat = servers.ask('k')
  ends()
  await servers.passes(2_000)
  assert.deepEqual([await first, await repeat], [GIVEN, GIVEN])
  assert.equal(servers.done('k'), 1)
})

test('where the server that was at it has died, the repeat does it once more', async t => {
  const servers = await Servers.start(t)
  const { act, ends } = held()
  const first = servers.ask('k', act)
  await servers.doing('k')
  await servers.passes(12_000)
  servers.die()
  const repeat = servers.ask('k')
  await servers.passes(19_900)
  assert.equal(servers.done('k'), 1)
  await servers.passes(2_000)
  assert.deepEqual(await repeat, GIVEN)
  assert.equal(servers.done('k'), 2)
  // It was not dead: its answer is its client's, and takes nothing from who has done it since.
  ends()
  await first
  assert.deepEqual(await servers.ask('k', held().act), GIVEN)
})

test('an answer that cannot be kept for a while is given, and is kept later', async t => {
  const servers = await Servers.start(t)
  const { act, ends } = held()
  const first = servers.ask('k', act)
  await servers.doing('k')
  servers.away = true
  ends()
  assert.deepEqual(await first, GIVEN)
  const repeat = servers.ask('k')
  await servers.passes(12_000)
  servers.away = false
  await servers.passes(6_000)
  assert.deepEqual(await repeat, GIVEN)
  assert.equal(servers.done('k'), 1)
})

test('who is refused makes nobody wait', async t => {
  const servers = await Servers.start(t)
  await assert.rejects(
    servers.ask('k', () => Promise.reject(new Error('no'))),
    /no/,
  )
  assert.equal((await servers.ask('k')).status, 201)
})

test('for a day, with the same operation alone', async t => {
  const servers = await Servers.start(t)
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
  const servers = await Servers.start(t)
  const KEY = 'a-key-of-the-client'
  await servers.ask(KEY)
  const [row] = await servers.kept()
  assert.equal(row?.row.status, 201)
  const text = JSON.stringify(row)
  const hashed = createHash('sha256').update(KEY).digest('base64url')
  for (const said of [KEY, hashed, SECRET.toString(), SECRET.toString('base64')]) assert.ok(!text.includes(said), said)
  for (let nth = 0; nth < 20; nth++) await servers.ask(`k${nth}`)
  servers.clock.advance(49 * HOURS)
  await servers.ask('later')
  await servers.passes(1_000)
  assert.deepEqual(
    (await servers.kept()).map(({ row }) => row.since),
    [servers.clock.now() - 1_000],
  )
})
