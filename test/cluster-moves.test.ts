/** One client, several servers: a session goes on wherever its client comes to, and leaves nothing behind. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Script } from '../bench/wire/script.ts'
import { people } from './harness.ts'
import { cassandra } from './support/keyspace.ts'
import { TestCluster } from './support/nodes.ts'
import { entryOf, Person } from './support/person.ts'
import { RedisServer, startCluster } from './support/redis.ts'
import { absent, TestServer } from './support/server.ts'

const { hosts, skip: noCassandra } = await cassandra()
const skip = noCassandra || (await absent('redis-server'))

async function servers<Count extends 2 | 3>(t: TestContext, count: Count, url?: string) {
  const cluster = new TestCluster(t, count, hosts.join(','))
  const all = (await cluster.settings(url)).map(settings => TestServer.idle(t, settings))
  t.after(() => cluster.remove())
  for (const server of all) await server.start()
  return { all: all as Of<Count>, cluster }
}
type Of<Count> = Count extends 2 ? [TestServer, TestServer] : [TestServer, TestServer, TestServer]

const at = (server: TestServer, { user, token, refreshToken, key }: Person) =>
  new Person(server, user, token, refreshToken, key)

/** What a client was given, over all of its connections. */
class Given {
  /** In the order in which they came first; with DUP where they were lost on their way before. */
  readonly seqs: number[] = []
  /** As new, on whichever connection: what an older one gave may be read behind what the next one repeats. */
  readonly #new = new Set<number>()
  /** As new, once more. */
  readonly doubled: number[] = []
  #waiting: (() => void)[] = []

  /** From now on, also what comes while nobody looks. */
  of(script: Script): Script {
    const count = script.packets.length
    const come = script.packets.push.bind(script.packets)
    for (const packet of script.packets.slice(0, count)) if (packet.type === 'publish') this.#add(packet)
    script.packets.push = (...packets) => {
      for (const packet of packets) if (packet.type === 'publish') this.#add(packet)
      return come(...packets)
    }
    return script
  }

  #add(packet: { payload: Buffer; dup: boolean }): void {
    const { seq } = entryOf(packet)
    if (!this.seqs.includes(seq)) this.seqs.push(seq)
    if (!packet.dup && this.#new.has(seq)) this.doubled.push(seq)
    if (!packet.dup) this.#new.add(seq)
    for (const wake of this.#waiting.splice(0)) wake()
  }

  async has(seq: number): Promise<void> {
    while (!this.seqs.includes(seq)) await new Promise<void>(resolve => this.#waiting.push(resolve))
  }

  /** Everything to the last, in order, and again only with DUP. */
  isExact(last: number): void {
    assert.deepEqual(
      this.seqs,
      Array.from({ length: last }, (_, nth) => nth + 1),
    )
    assert.deepEqual(this.doubled, [])
  }
}

/** Says one thing after the other, until it is told to stop; resolves to the seq of the last. */
function talk(from: Person, to: Person): () => Promise<number> {
  let isOver = false
  const talking = (async () => {
    for (let n = 1; ; n++) {
      const { status, body } = await from.api('POST', `/users/${to.user}/messages`, { text: `${n}` })
      assert.equal(status, 201, JSON.stringify(body))
      if (isOver) return (body as { seq: number }).seq
    }
  })()
  return () => {
    isOver = true
    return talking
  }
}

const sentinel = async (t: TestContext) =>
  `redis+sentinel://127.0.0.1:${(await RedisServer.sentinel(t, await RedisServer.start(t))).port}/main`
const REDIS = {
  'one Redis': () => undefined,
  'a Redis behind Sentinels': sentinel,
  'a Redis Cluster': async (t: TestContext) => (await startCluster(t)).url,
}
for (const [name, redis] of Object.entries(REDIS))
  test(
    `a session that goes from server to server gets everything once and in order, with ${name}`,
    {
      skip,
      timeout: 120_000,
    },
    async t => moves(t, await redis(t)),
  )

async function moves(t: TestContext, redis: string | undefined): Promise<void> {
  const {
    all: [one, two],
  } = await servers(t, 2, redis)
  const { alice, bob } = await one.people('alice', 'bob')
  const given = new Given()
  let script = given.of(await bob.connect(5))
  await script.subscribe(bob.inbox)
  const hush = talk(alice, bob)
  for (let move = 1; move <= 12; move++) {
    await given.has((given.seqs.at(-1) ?? 0) + 3)
    // In turns: cut off, with a word, and taken over while it is connected.
    if (move % 3 === 0) await script.cut()
    if (move % 3 === 1) await script.disconnect()
    const next = given.of(await at(move % 2 ? two : one, bob).connect(5))
    if (move % 3 === 2) assert.equal((await script.next('disconnect')).code, 0x8e)
    assert.ok(next.packets[0]?.type === 'connack' && next.packets[0].sessionPresent)
    script = next
  }
  const last = await hush()
  await given.has(last)
  given.isExact(last)
}

test('of one client that comes to three servers at once, one connection stays', { skip, timeout: 120_000 }, async t => {
  const { all } = await servers(t, 3)
  const { alice, bob } = await all[0].people('alice', 'bob')
  const given = new Given()
  const first = given.of(await bob.connect(5))
  await first.subscribe(bob.inbox)
  const hush = talk(alice, bob)
  const scripts = [first]
  const come = async (nth: number) => {
    const server = all[nth % 3] as TestServer
    scripts.push(given.of(await at(server, bob).connect(5)))
  }
  for (let round = 0; round < 10; round++) await Promise.all([0, 1, 2, 3, 4].map(nth => come(round + nth)))
  const last = await hush()
  await given.has(last)
  const isOpen = ({ wire }: Script) => !wire.closed
  for (let open = scripts; open.length > 1; open = scripts.filter(isOpen))
    await Promise.race(open.map(({ closed }) => closed))
  const [left] = scripts.filter(isOpen)
  assert.ok(left)
  for (const script of scripts) if (script !== left) assert.equal((await script.next('disconnect')).code, 0x8e)
  await left.ping()
  given.isExact(last)
})

test('a server that stops leaves its sessions whole for the others', { skip, timeout: 120_000 }, async t => {
  const {
    all: [one, two],
  } = await servers(t, 2)
  const { alice, bob } = await two.people('alice', 'bob')
  const clients = Array.from({ length: 30 }, (_, nth) => ({ clientId: `c${nth}`, given: new Given() }))
  const here = await Promise.all(
    clients.map(async ({ clientId, given }) => {
      const script = given.of(await at(one, bob).connect(5, { clientId }))
      await script.subscribe(bob.inbox)
      return script
    }),
  )
  const hush = talk(alice, bob)
  await Promise.all(clients.map(({ given }) => given.has(5)))
  const moved = Promise.all(
    here.map(async (script, nth) => {
      const { clientId, given } = clients[nth] as (typeof clients)[0]
      assert.equal((await script.next('disconnect')).code, 0x8b)
      const next = given.of(await at(two, bob).connect(5, { clientId }))
      assert.ok(next.packets[0]?.type === 'connack' && next.packets[0].sessionPresent)
    }),
  )
  assert.equal(await one.stop(), 0)
  await moved
  const last = await hush()
  await Promise.all(clients.map(({ given }) => given.has(last)))
  for (const { given } of clients) {
    given.isExact(last)
  }
})

test('what is live, and the end of a log-in, reach a member at every server', { skip, timeout: 120_000 }, async t => {
  const {
    all: [one, two],
  } = await servers(t, 2)
  const { alice } = await people(t, { server: one.ports }, 'alice')
  const { bob } = await people(t, { server: two.ports }, 'bob')
  await bob.chat(alice).send('hi')
  const { seq } = await alice.hears({ kind: 'message', text: 'hi' })
  await alice.chat(bob).read(seq as number)
  await bob.hears({ kind: 'receipt', user: 'alice', readUpTo: seq })

  const { carol } = await one.people('carol')
  const there = await at(two, carol).connect(5, { password: carol.token })
  const { status } = await carol.api('POST', '/logout', { refreshToken: carol.refreshToken })
  assert.ok(status < 300)
  assert.equal((await there.next('disconnect')).code, 0x87)
})

test('who is logged out while servers cannot speak is told when they can', { skip, timeout: 120_000 }, async t => {
  const {
    all: [one, two],
    cluster,
  } = await servers(t, 2)
  const redis = await cluster.redis
  const { carol, dave } = await one.people('carol', 'dave')
  const [hers, byKey, his] = await Promise.all([
    at(two, carol).connect(5, { password: carol.token }),
    at(two, carol).connect(5, { clientId: 'by key' }),
    at(two, dave).connect(5),
  ])
  redis.pause()
  const out = await carol.api('POST', '/logout', { refreshToken: carol.refreshToken })
  assert.equal(out.status, 204)
  const { body } = await carol.api('GET', '/me/keys')
  const [key] = (body as { items: { id: string }[] }).items
  assert.equal((await carol.api('DELETE', `/me/keys/${key?.id}`)).status, 204)
  await hers.ping()
  redis.resume()
  for (const script of [hers, byKey]) assert.equal((await script.next('disconnect')).code, 0x87)
  await his.ping()
})

test('who was written to for the first time while servers cannot speak gets all of it', {
  skip,
  timeout: 120_000,
}, async t => {
  const {
    all: [one, two],
    cluster,
  } = await servers(t, 2)
  const redis = await cluster.redis
  const { alice, bob } = await one.people('alice', 'bob')
  const his = await at(two, bob).connect(5)
  await his.subscribe(bob.inbox)
  const say = async (server: TestServer, from: Person, to: Person, text: string) =>
    assert.equal((await at(server, from).api('POST', `/users/${to.user}/messages`, { text })).status, 201)
  redis.pause()
  await say(one, alice, bob, 'hello')
  // What his own server appends is told there before he is known to be in.
  await say(two, bob, alice, 'who is it?')
  redis.resume()
  assert.equal(entryOf(await his.next('publish')).text, 'hello')
  assert.equal(entryOf(await his.next('publish')).text, 'who is it?')
})
