/** Two servers that append to the same conversation at once: one order for all, without gaps, and nothing twice. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import type { StoredEntry } from '../core/entry.ts'
import { type ConversationKey, put, putRanked, type Storage, table } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import { Hub } from '../storage/memory/hub.ts'
import { conversation, OPS, range, recalls, says, seq } from './contracts/ground.ts'
import { cassandra, keyspaceOf, opened, openedBy } from './support/keyspace.ts'
import { figures, scale, seedOfRun } from './support/proof.ts'

const { hosts, skip } = await cassandra()
/** So that every run passes from bucket to bucket. */
const SIZE = 10
const COUNTS = table<{ by: string }>('counts')
const LAST = table<{ seq: number }>('last', undefined, { ranked: true })
const jsonOf = ({ bytes }: StoredEntry) => Buffer.from(bytes).toString()
const RUNS = scale('WRITERS', 1)

const nodes = (t: TestContext, count: number, hub?: Hub) =>
  openedBy(t, keyspaceOf(t, hosts, { bucketSize: SIZE }), count, undefined, hub)

/** As a client sees it: when it was called and when it was answered, by one count of both. */
interface Call {
  id: string | undefined
  called: number
  answered: number
  answer?: StoredEntry
  refused?: string
}

interface Step {
  at: number
  does: string
  id: number
  waits: boolean
}

class History {
  readonly calls: Call[] = []
  readonly ranked: number[] = []
  #events = 0

  async of(id: string | undefined, work: Promise<StoredEntry>): Promise<void> {
    const call: Call = { id, called: this.#events++, answered: Number.POSITIVE_INFINITY }
    this.calls.push(call)
    try {
      call.answer = await work
    } catch (thrown) {
      assert.ok(thrown instanceof Fault, String(thrown))
      call.refused = thrown.code
    }
    call.answered = this.#events++
  }

  get stored(): Call[] {
    return this.calls.filter(({ answer }) => answer && !answer.repeated)
  }

  /** One place for each, in an order that nobody can tell from one after the other. */
  mustBeLinear(end: number): void {
    const places = this.stored.map(({ answer }) => answer?.seq ?? 0).sort((a, b) => a - b)
    assert.deepEqual(places, range(1, end))
    for (const one of this.stored)
      for (const other of this.stored)
        if (one.answered < other.called) assert.ok((one.answer?.seq ?? 0) < (other.answer?.seq ?? 0), 'in real time')
    const first = new Map<string, number>()
    for (const { id, answer } of this.calls) {
      if (id === undefined || !answer) continue
      assert.equal(answer.seq, first.get(id) ?? answer.seq, `${id} is stored once`)
      first.set(id, answer.seq)
    }
    for (const [id] of first) assert.equal(this.stored.filter(call => call.id === id).length, 1, id)
  }
}

async function play(all: readonly Storage[], here: ConversationKey, steps: readonly Step[]): Promise<History> {
  const history = new History()
  const under: Promise<void>[] = []
  for (const { at, does, id, waits } of steps) {
    const { log } = all[at] as Storage
    const name = does === 'by name' ? `c-${id}` : undefined
    const changes = ({ seq }: { seq: number }) => {
      if (does === 'counts')
        return [put(COUNTS, here, 'all', { by: `${at}` }), put(COUNTS, `${here}/${id}`, 'all', { by: '' })]
      return does === 'ranked' ? [putRanked(LAST, here, 'all', { seq }, seq)] : []
    }
    const work =
      does === 'recall'
        ? log.append(here, recalls(id), { retracts: seq(id) })
        : log.append(here, says(`${name ?? does}`, name), { changes })
    under.push(history.of(name, work))
    // Also of one that is taken back later: its row stays.
    if (does === 'ranked') under.push(work.then(({ seq }) => void history.ranked.push(seq)))
    if (waits) await Promise.all(under)
  }
  await Promise.all(under)
  return history
}

async function mustAgree(all: readonly Storage[], here: ConversationKey, steps: readonly Step[], history: History) {
  const [one, other] = (await Promise.all(
    all.map(async ({ log }) => (await log.read(here, { limit: 1_000 })).map(jsonOf)),
  )) as [string[], string[]]
  assert.deepEqual(one, other)
  history.mustBeLinear(one.length)
  const entries = one.map(json => JSON.parse(json))
  assert.deepEqual(
    entries.map(({ seq }) => seq),
    range(1, one.length),
  )
  const recalled = entries.filter(({ kind }) => kind === 'recall').map(({ target }) => target)
  assert.equal(new Set(recalled).size, recalled.length, 'nothing is taken back twice')
  for (const target of recalled) assert.equal(entries[target - 1]?.retracted, 'recall')
  const { records } = all[0] as Storage
  const counted = steps.filter(({ does }) => does === 'counts')
  assert.equal((await records.get(COUNTS, here, 'all'))?.version ?? 0, counted.length)
  for (const id of new Set(counted.map(({ id }) => id)))
    assert.equal(
      (await records.get(COUNTS, `${here}/${id}`, 'all'))?.version,
      counted.filter(one => one.id === id).length,
    )
  const ranked = history.ranked.sort((a, b) => a - b).at(-1)
  assert.equal((await records.get(LAST, here, 'all'))?.row.seq, ranked)
}

for (const [who, hub] of [
  ['that hear nothing of each other', undefined],
  ['that hear each other and take turns', new Hub()],
] as const) {
  test(`whatever two servers ${who} append to one conversation is in one order, once, with its records`, {
    skip,
  }, async t => {
    const all = await nodes(t, 2, hub)
    const step = fc.record({
      at: fc.integer({ min: 0, max: 1 }),
      does: fc.constantFrom('say', 'by name', 'by name', 'by name', 'counts', 'ranked', 'recall'),
      id: fc.integer({ min: 1, max: 8 }),
      waits: fc.boolean(),
    })
    let run = 0
    let appends = 0
    const property = fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 45 }), async steps => {
      const here = conversation(`g:run${++run}`)
      const told = all.map(() => [] as number[])
      const ends = all.map(({ log }, nth) => log.follow((key, { seq }) => key === here && told[nth]?.push(seq)))
      const history = await play(all, here, steps)
      for (const end of ends) end()
      appends += history.stored.length
      await mustAgree(all, here, steps, history)
      // Each of them hears in order and nothing twice, from where it began to listen on.
      for (const heard of told) assert.deepEqual(heard, range(heard[0] ?? 1, heard.at(-1) ?? 0))
      const refused = new Set(history.calls.flatMap(({ refused }) => refused ?? []))
      for (const code of refused) assert.ok(['already-recalled', 'no-such-entry'].includes(code), code)
    })
    await fc.assert(property, { numRuns: Math.ceil(5 * RUNS), seed: seedOfRun(), endOnFailure: true })
    figures(t, { conversations: run, appends, lost: 0, doubled: 0 })
  })

  test(`buckets change under the load of two servers ${who} without a gap, a double or a refusal`, {
    skip,
  }, async t => {
    const all = await nodes(t, 2, hub)
    const here = conversation('g:hot')
    const each = Math.ceil(40 * RUNS)
    const began = performance.now()
    const history = new History()
    // Each sender waits for its answer before it goes on; every fourth is sent by both servers under one name.
    const sender = async (at: number, nth: number) => {
      for (const n of range(1, each)) {
        const name = n % 4 === 0 ? `s${nth}-${n}` : undefined
        const { log } = all[n % 4 === 0 ? (at + n / 4) % 2 : at] as Storage
        await history.of(name, log.append(here, says(`${nth} ${n}`, name)))
      }
    }
    await Promise.all(all.flatMap((_, at) => range(1, 4).map(nth => sender(at, nth))))
    const ms = performance.now() - began
    assert.deepEqual(
      history.calls.flatMap(({ refused }) => refused ?? []),
      [],
    )
    const read: number[] = []
    for (let after = 0; ; after = read.length) {
      const page = await (all[0] as Storage).log.read(here, { after: seq(after), limit: 1_000 })
      read.push(...page.map(({ seq }) => seq))
      if (page.length === 0) break
    }
    history.mustBeLinear(read.length)
    assert.deepEqual(read, range(1, read.length))
    const [tail] = await (all[1] as Storage).log.tails([here])
    assert.deepEqual([tail?.seq, tail?.n], [read.length, read.length])
    figures(t, { appends: read.length, buckets: Math.ceil(read.length / SIZE), ms: Math.round(ms) })
  })
}

test('what its node announced to nobody is told where somebody reads how far it goes', { skip }, async t => {
  const ours = keyspaceOf(t, hosts)
  const hub = new Hub()
  const mute = hub.join('mute')
  mute.bus.publish = () => {}
  const [one, other] = [await opened(t, ours, undefined, mute), await opened(t, ours, undefined, hub.join('n2'))]
  const unheard = new Promise<void>(resolve => {
    other.log.follow((_, { entry }) => {
      if (entry.text === 'unheard') resolve()
    })
  })
  await other.log.append(OPS, says('heard'))
  await one.log.append(OPS, says('unheard'))
  assert.equal((await other.log.tails([OPS]))[0]?.seq, 2)
  await unheard
})
