/** Answers of Cassandra that are lost: what became of a write is found out before anybody is answered. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import type { Storage } from '../core/ports.ts'
import { put, putRanked, table } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import { Hub } from '../storage/memory/hub.ts'
import { conversation, OPS, range, recalls, says, seq, TestClock } from './contracts/ground.ts'
import { Cuts, type Fate } from './support/cuts.ts'
import { cassandra, keyspaceOf, opened } from './support/keyspace.ts'
import { scale, seedOfRun } from './support/proof.ts'
import { until } from './support/redis.ts'

const { hosts, skip } = await cassandra()
const NOTES = table<{ text: string }>('notes')
const MARKS = table<{ text: string }>('marks', undefined, { ranked: true })
const QUICK = ['cut before', 'cut behind', 'late'] as const
const FATES = [...QUICK, 'unanswered'] as const
/** Long, as an answer that comes later counts as lost. */
const ANSWER_MS = 1_500

/** One that answers badly, and one that does not, over the same data. */
async function ground(t: TestContext) {
  const ours = keyspaceOf(t, hosts, { bucketSize: 10 })
  const clock = new TestClock()
  const good = await opened(t, ours, clock)
  const cuts = await Cuts.start(hosts[0] as string)
  // It is gone before who asks through it: that one ends all the same.
  t.after(() => cuts[Symbol.asyncDispose]())
  const bad = await opened(t, { ...ours, hosts: [cuts.host], answerMs: ANSWER_MS }, clock)
  return { cuts, good, bad }
}
/** The nth conditional write has this fate, and what follows passes: behind what is late, which comes just before it. */
function once(cuts: Cuts, fate: Fate, nth = 1): void {
  let left = nth
  cuts.fate = async ({ kind }) => {
    if (kind !== 'cas') return 'pass'
    if (--left === 0) return fate
    if (left < 0) await cuts.release()
    return 'pass'
  }
}
const textsOf = async ({ log }: Storage, key = OPS) =>
  (await log.read(key, { limit: 1_000 })).map(({ entry }) => entry.retracted ?? entry.text ?? entry.kind)

test('what becomes of a write whose answer is lost is found out', { skip }, async t => {
  const { cuts, good, bad } = await ground(t)
  for (const fate of FATES)
    await t.test(`an append whose batch is ${fate} is stored once, and says so`, async () => {
      const here = conversation(`g:${fate.replace(' ', '-')}`)
      const heard: number[] = []
      const end = bad.log.follow((key, { seq }) => key === here && heard.push(seq))
      await bad.log.append(here, says('before'))
      const { count } = cuts
      once(cuts, fate)
      // Without a clientMessageId nothing but the log itself keeps it from being stored twice.
      const sent = await Promise.all(range(1, 3).map(n => bad.log.append(here, says(`${n}`))))
      await cuts.release()
      assert.equal(cuts.count, count + 1)
      assert.deepEqual(
        sent.map(entry => [entry.seq, entry.repeated]),
        range(2, 4).map(seq => [seq, false]),
      )
      await bad.log.append(here, says('behind'))
      end()
      assert.deepEqual(await textsOf(good, here), ['before', '1', '2', '3', 'behind'])
      assert.deepEqual(heard, range(1, 5))
    })

  for (const [i, fate] of QUICK.entries())
    await t.test(`a removal of which a write is ${fate} is done in the end, and repeats are still found`, async () => {
      const here = conversation(`g:trim${i}`)
      for (const n of range(1, 25)) await bad.log.append(here, says(`${n}`, `c-${n}`))
      for (const nth of [1, 2]) {
        const { count } = cuts
        once(cuts, fate, nth)
        await bad.log.trim(here, seq(10 * nth + 1))
        await cuts.release()
        assert.equal(cuts.count, count + 1)
        const [end] = await good.log.tails([here])
        assert.deepEqual([end?.first, end?.seq], [10 * nth + 1, 25])
        assert.deepEqual(await textsOf(good, here), range(10 * nth + 1, 25).map(String))
        const again = await good.log.append(here, says('3', 'c-3'))
        assert.deepEqual([again.seq, again.repeated, again.entry.retracted], [3, true, 'retention'])
      }
    })

  await t.test('an append that may come late is not refused for good', async () => {
    const here = conversation('g:judged')
    await bad.log.append(here, says('before'))
    let asked = 0
    const judge = () => {
      if (++asked > 1) throw new Fault('not-a-member')
    }
    once(cuts, 'late')
    await assert.rejects(bad.log.append(here, says('late'), { judge }), { code: 'log-unavailable' })
    await cuts.release()
    await until(async () => (await textsOf(good, here)).join() === 'before,late', 'it has come')
    assert.equal((await bad.log.append(here, says('behind'))).seq, 3)
  })

  await t.test('an append that is stored is not refused for the one behind it, in the next bucket', async () => {
    const here = conversation('g:edge')
    for (const n of range(1, 9)) await bad.log.append(here, says(`${n}`))
    let isDown = false
    cuts.fate = ({ kind }) => {
      if (isDown) return 'cut before'
      if (kind === 'cas') isDown = true
      return 'pass'
    }
    // What belongs to it is left to do while nothing passes.
    const changes = () => [putRanked(MARKS, 'p', 'k', { text: '10' }, 1)]
    const [stored, refused] = range(10, 11).map(n => bad.log.append(here, says(`${n}`), { changes }))
    stored?.catch(() => {})
    await assert.rejects(refused as Promise<unknown>, { code: 'log-unavailable' })
    cuts.fate = () => 'pass'
    assert.equal((await stored)?.seq, 10)
  })

  await t.test('what cannot be told is refused as unknown, and is there or not as a whole', async () => {
    let isDown = false
    cuts.fate = ({ kind }) => {
      if (isDown) return 'cut before'
      if (kind === 'cas') isDown = true
      return kind === 'cas' ? 'cut behind' : 'pass'
    }
    await assert.rejects(bad.log.append(OPS, says('unknown', 'c-1')), { code: 'log-unavailable' })
    cuts.fate = () => 'pass'
    assert.deepEqual(await textsOf(good), ['unknown'])
    assert.equal((await bad.log.append(OPS, says('unknown', 'c-1'))).repeated, true)
  })

  await t.test('a write of records is made once, and is no conflict with itself', () => records(cuts, good, bad))
  // Of several cuts at once a write may be refused as unknown, which this takes for a failure: not of every commit.
  await t.test(
    'whatever is lost between, everything that was accepted is there once',
    {
      skip: !process.env.CUTS && 'CUTS=1 plays it',
    },
    () => whatever(cuts, good, bad),
  )
})

async function records(cuts: Cuts, good: Storage, bad: Storage): Promise<void> {
  // In one home, in two, and with an entry: every conditional write of each has each fate once.
  const cases = QUICK.flatMap(fate => [
    [fate, 1, 'one'] as const,
    ...range(1, 5).map(nth => [fate, nth, 'two'] as const),
    ...range(1, 3).map(nth => [fate, nth, 'entry'] as const),
  ])
  const here = conversation('g:records')
  let version = 0
  for (const [fate, nth, does] of cases) {
    once(cuts, fate, nth)
    const changes = () => [put(NOTES, 'p', 'k', { text: does }, version)]
    const name = `${fate} ${nth} ${does}`
    if (does === 'one') await bad.records.write(changes())
    else if (does === 'two') await bad.records.write([...changes(), put(NOTES, 'q', 'k', { text: does })])
    else await bad.log.append(here, says(name), { changes })
    version++
    await cuts.release()
    assert.equal((await good.records.get(NOTES, 'p', 'k'))?.version, version, name)
  }
  cuts.fate = () => 'pass'
  const of = (what: string) => cases.filter(([, , does]) => does === what)
  assert.equal((await good.records.get(NOTES, 'q', 'k'))?.version, of('two').length)
  assert.deepEqual(
    await textsOf(good, here),
    of('entry').map(([fate, nth]) => `${fate} ${nth} entry`),
  )
}

async function whatever(cuts: Cuts, good: Storage, bad: Storage): Promise<void> {
  const runs = scale('CUTS', 1)
  const step = fc.record({
    does: fc.constantFrom('say', 'say', 'say by name', 'recall', 'change', 'put'),
    fate: fc.option(fc.constantFrom<Fate>(...(runs > 1 ? FATES : QUICK)), { freq: 2, nil: undefined }),
    nth: fc.integer({ min: 1, max: 4 }),
    waits: fc.boolean(),
  })
  let run = 0
  const property = fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async all => {
    const here = conversation(`g:run${++run}`)
    const calls: Promise<unknown>[] = []
    const expected: string[] = []
    let puts = 0
    for (const [at, { does, fate, nth, waits }] of all.entries()) {
      if (fate) once(cuts, fate, nth)
      const isRecall = does === 'recall' && expected[0] !== undefined && expected[0] !== 'recall'
      if (isRecall) expected[0] = 'recall'
      if (does === 'put') {
        puts++
        calls.push(bad.records.write([put(NOTES, here, 'k', { text: '' })]))
      } else {
        expected.push(isRecall ? 'recall' : `${at}`)
        if (does === 'change') puts++
        const changes = () => (does === 'change' ? [put(NOTES, here, 'k', { text: '' })] : [])
        const draft = isRecall ? recalls(1) : says(`${at}`, does === 'say by name' ? `c-${at}` : undefined)
        calls.push(bad.log.append(here, draft, { changes, ...(isRecall && { retracts: seq(1) }) }))
      }
      if (waits) await Promise.allSettled(calls)
    }
    const outcomes = await Promise.allSettled(calls)
    cuts.fate = () => 'pass'
    await cuts.release()
    for (const outcome of outcomes)
      if (outcome.status === 'rejected')
        assert.fail(`${outcome.reason} ${outcome.reason instanceof Fault ? outcome.reason.cause : ''}`)
    assert.deepEqual(await textsOf(good, here), expected)
    assert.equal((await good.records.get(NOTES, here, 'k'))?.version ?? 0, puts)
  })
  const numRuns = Math.ceil(5 * runs)
  await fc.assert(property, { numRuns, seed: seedOfRun(), endOnFailure: true })
}

test('however many appends fail while storage is away, the others are told once that there may be more', {
  skip,
}, async t => {
  const cuts = await Cuts.start(hosts[0] as string)
  t.after(() => cuts[Symbol.asyncDispose]())
  const cluster = new Hub().join('n1')
  let told = 0
  cluster.bus.publish = () => {
    told++
  }
  const { log } = await opened(t, { ...keyspaceOf(t, hosts), hosts: [cuts.host] }, new TestClock(), cluster)
  await log.append(OPS, says('before'))
  cuts.fate = () => 'cut before'
  for (const text of ['1', '2', '3', '4', '5'])
    await assert.rejects(log.append(OPS, says(text)), { code: 'log-unavailable' })
  assert.equal(told, 1)
  cuts.fate = () => 'pass'
  await until(() => told > 1, 'what may be there is announced')
  await log.append(OPS, says('behind'))
  assert.equal(told, 3)
})

test('connections are as many after outages as before', { skip }, async t => {
  const { cuts, bad } = await ground(t)
  await bad.ready()
  const before = cuts.lines
  for (const n of range(1, 5)) {
    cuts.cut()
    await bad.log.append(OPS, says(`${n}`))
    await until(async () => cuts.lines > 0, 'it is connected again')
  }
  await until(async () => cuts.lines <= before, `of ${cuts.lines} connections, ${before} are left`)
})
