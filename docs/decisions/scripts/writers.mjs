/**
 * Who may append to a conversation: whoever holds a lease, or whoever is first by compare-and-set. docs/decisions/writers.md.
 *   npm run build && node docs/decisions/scripts/writers.mjs
 * CASSANDRA=host:port takes a Cassandra that runs; otherwise one node is started, as by the tests (java and mvn).
 * TURNS=off plays it without turns where servers meet.
 */
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { openCassandra } from '../../../dist/storage/cassandra/open.js'
import { Ring } from '../../../dist/storage/cassandra/ring.js'
import { openRedis } from '../../../dist/storage/redis/open.js'
import { CassandraNodes } from '../../../dist/test/support/cassandra.js'
import { percentile, redisServer, say, sleep } from './redis-server.mjs'

const Redis = createRequire(import.meta.url)('ioredis')
const LEASE_MS = 1_000
const SECONDS = Number(process.env.SECONDS ?? 10)

const ends = []
const { CASSANDRA, TURNS } = process.env
const hosts = CASSANDRA ? CASSANDRA.split(',') : (await CassandraNodes.start({ after: end => ends.unshift(end) })).hosts
const keyspace = `writers${randomBytes(4).toString('hex')}`
const needs = {
  ...{ hosts, keyspace, datacenter: 'datacenter1', consistency: 'local-quorum', replication: 1, bucketSize: 10_000 },
  ...{ random: { bytes: randomBytes }, tables: [], clock: { now: Date.now }, observer: {} },
}
const redis = await redisServer()

// ---- a lease, and writes that ask nobody ----

/** Appends as one would with a lease in Redis: who holds it counts, and inserts. It asks for the lease before each. */
class Owner {
  #name
  #redis = new Redis(redis.port)
  #ring
  #tail

  constructor(name, ring) {
    this.#name = name
    this.#ring = ring
  }
  async #holds(key) {
    if ((await this.#redis.set(key, this.#name, 'PX', LEASE_MS, 'NX')) === 'OK') {
      const [row] = await this.#ring.read('SELECT max(seq) AS tail FROM leased WHERE conversation = ?', [key])
      this.#tail = Number(row.tail ?? 0)
      return true
    }
    return (await this.#redis.get(key)) === this.#name && (await this.#redis.pexpire(key, LEASE_MS)) === 1
  }
  /** `between`: what happens to this process once it knows that it holds the lease. */
  async append(key, text, between = async () => {}) {
    while (!(await this.#holds(key))) await sleep(20)
    await between()
    const seq = ++this.#tail
    const query = 'INSERT INTO leased (conversation, seq, text) VALUES (?, ?, ?)'
    await this.#ring.write([[query, [key, seq, text]]])
    return seq
  }
  close() {
    this.#redis.disconnect()
  }
}

/** One owner appends, stands still for longer than its lease, and goes on; the other takes over meanwhile. */
async function leased(ring) {
  await ring.command('CREATE TABLE leased (conversation text, seq bigint, text text, PRIMARY KEY (conversation, seq))')
  const [a, b] = [new Owner('a', ring), new Owner('b', ring)]
  const acknowledged = []
  const append = async (owner, text, between) => acknowledged.push([await owner.append('hot', text, between), text])
  for (let n = 0; n < 50; n++) await append(a, `a${n}`)
  const still = append(a, 'a50', () => sleep(3 * LEASE_MS))
  await sleep(LEASE_MS + 100)
  for (let n = 0; n < 20; n++) await append(b, `b${n}`)
  await still
  const rows = await ring.read('SELECT seq, text FROM leased WHERE conversation = ?', ['hot'])
  const there = new Set(rows.map(({ text }) => text))
  for (const owner of [a, b]) owner.close()
  const lost = acknowledged.filter(([, text]) => !there.has(text)).length
  const twice = acknowledged.length - new Set(acknowledged.map(([seq]) => seq)).size
  return `${lost} of ${acknowledged.length}; numbers given twice: ${twice}`
}

// ---- compare-and-set, as it is built ----

async function nodes(count) {
  return Promise.all(
    Array.from({ length: count }, async (_, nth) => {
      const cluster = await openRedis({ url: `redis://127.0.0.1:${redis.port}`, node: `n${nth}` })
      return {
        cluster,
        storage: await openCassandra({ ...needs, cluster: TURNS === 'off' ? unmet(cluster) : cluster }),
      }
    }),
  )
}
/** Hears everything, and sees nobody whom it could ask for a turn. */
function unmet({ node, leases, bus }) {
  const [publish, subscribe, settled, onMissed] = ['publish', 'subscribe', 'settled', 'onMissed'].map(name =>
    bus[name].bind(bus),
  )
  return { node, leases, bus: { healthy: true, publish, subscribe, settled, onMissed, peers: () => [] } }
}
async function close(all) {
  for (const { storage, cluster } of all) {
    await storage[Symbol.asyncDispose]()
    await cluster[Symbol.asyncDispose]()
  }
}

/** Batches that were applied, and those that were made anew because another was first. */
const batches = { applied: 0, refused: 0, unknown: 0 }
const { compareAndSet } = Ring.prototype
Ring.prototype.compareAndSet = async function counted(statements) {
  const answer = await compareAndSet.call(this, statements)
  batches[answer.outcome]++
  return answer
}

const draft = text => ({ kind: 'message', from: 'u:alice', body: { type: 'text', text } })

/** The same stand-still between knowing the tail and writing. */
async function paused([a, b]) {
  const acknowledged = []
  const append = async (node, text, judge) =>
    acknowledged.push([(await node.storage.log.append('im/g:paused', draft(text), judge && { judge })).seq, text])
  for (let n = 0; n < 50; n++) await append(a, `a${n}`)
  const still = append(a, 'a50', () => sleep(3 * LEASE_MS))
  await sleep(LEASE_MS + 100)
  for (let n = 0; n < 20; n++) await append(b, `b${n}`)
  await still
  const entries = await b.storage.log.read('im/g:paused', { after: 0, limit: 1_000 })
  const there = new Set(entries.map(({ entry }) => entry.body?.text ?? entry.text))
  const lost = acknowledged.filter(([, text]) => !there.has(text)).length
  const twice = acknowledged.length - new Set(acknowledged.map(([seq]) => seq)).size
  return `${lost} of ${acknowledged.length}; numbers given twice: ${twice}`
}

/** `inFlight` appends under way at once in all, spread over the nodes; the next as soon as one is acknowledged. */
async function load(all, { conversations, inFlight }) {
  const took = []
  const end = performance.now() + SECONDS * 1_000
  const before = { ...batches }
  const cpu = process.cpuUsage()
  const text = 'x'.repeat(256)
  await Promise.all(
    Array.from({ length: inFlight }, async (_, nth) => {
      const { storage } = all[nth % all.length]
      for (let n = 0; performance.now() < end; n++) {
        const from = performance.now()
        await storage.log.append(`im/g:${conversations}-${(nth * 7 + n) % conversations}`, draft(text))
        took.push(performance.now() - from)
      }
    }),
  )
  took.sort((a, b) => a - b)
  const { user, system } = process.cpuUsage(cpu)
  const [applied, refused] = ['applied', 'refused'].map(outcome => batches[outcome] - before[outcome])
  return [
    `${Math.round(took.length / SECONDS)}/s`,
    `${percentile(took, 0.5).toFixed(0)} / ${percentile(took, 0.99).toFixed(0)} ms`,
    `${(took.length / applied).toFixed(1)} a batch`,
    `${((100 * refused) / (applied + refused)).toFixed(0)} % made anew`,
    `${((user + system) / took.length).toFixed(0)} µs of CPU`,
  ].join(', ')
}

const three = await nodes(3)
const plain = await Ring.connect(needs, keyspace)
say('what', 'measured')
say('---', '---')
say('lease in Redis, plain inserts; the owner stands still for 3 s: acknowledged and gone', await leased(plain))
say('compare-and-set; a writer stands still for 3 s: acknowledged and gone', await paused(three))
const [one] = three
for (const [what, conversations, inFlight] of [
  ['one conversation, 48 under way', 1, 48],
  ['300 conversations, 96 under way', 300, 96],
]) {
  say(`${what}, all at one node (an owner without its hop)`, await load([one], { conversations, inFlight }))
  say(`${what}, spread over three nodes`, await load(three, { conversations, inFlight }))
}
// One that was started for this is gone with it.
if (CASSANDRA) await plain.command(`DROP KEYSPACE ${keyspace}`)
await plain[Symbol.asyncDispose]()
await close(three)
await redis.kill()
for (const end of ends) await end()
process.exit()
