/** Record changes that go with entries: made by who appended, and where that server died before, by who comes next. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { putRanked, type Storage, table } from '../core/ports.ts'
import { Hub } from '../storage/memory/hub.ts'
import { OPS, range, says, TestClock } from './contracts/ground.ts'
import { Cuts } from './support/cuts.ts'
import { cassandra, keyspaceOf, opened, ringOf } from './support/keyspace.ts'
import { until } from './support/redis.ts'

const { hosts, skip } = await cassandra()
const LAST = table<{ seq: number }>('last', undefined, { ranked: true })

/** Servers that hear each other; the first can be made to write nothing but appends, as if it died behind them. */
async function cluster(t: TestContext, bucketSize = 50) {
  const ours = keyspaceOf(t, hosts, { bucketSize })
  const hub = new Hub()
  const clock = new TestClock()
  const cuts = await Cuts.start(hosts[0] as string)
  t.after(() => cuts[Symbol.asyncDispose]())
  const nodes = ['n1', 'n2', 'n3'].map(name => hub.join(name))
  const [n1, n2, n3] = nodes as [(typeof nodes)[0], (typeof nodes)[0], (typeof nodes)[0]]
  const dying = await opened(t, { ...ours, hosts: [cuts.host] }, clock, n1)
  const others = [await opened(t, ours, clock, n2), await opened(t, ours, clock, n3)] as const
  const ring = await ringOf(ours, ours.keyspace)
  t.after(() => ring[Symbol.asyncDispose]())
  const settled = async () => {
    const [head] = await ring.read('SELECT settled FROM heads WHERE conversation = ?', [OPS])
    return Number(head?.settled ?? 0)
  }
  const dies = () => {
    cuts.fate = ({ kind }) => (kind === 'write' ? 'cut before' : 'pass')
  }
  return { dying, others, settled, dies, n1 }
}

/** Each writes down who said what. */
const say = ({ log }: Storage, name: string) =>
  log.append(OPS, says(name), { changes: ({ seq }) => [putRanked(LAST, 'p', name, { seq }, seq)] })
const rowOf = async ({ records }: Storage, name: string) => (await records.get(LAST, 'p', name))?.row.seq

test('what a server that died has not made is made by who looks, though another has appended behind it', {
  skip,
}, async t => {
  const { dying, others, settled, dies } = await cluster(t)
  const [next, third] = others
  await say(dying, 'Ada')
  await say(next, 'Bo')
  await until(async () => (await settled()) === 2, 'it is written down')
  dies()
  void say(dying, 'Cleo').catch(() => {})
  const heard = new Promise<void>(resolve => next.log.follow((_, { seq }) => seq === 3 && resolve()))
  await heard
  assert.equal((await say(next, 'Dan')).seq, 4)
  assert.ok((await settled()) < 3)
  await third.log.tails([OPS])
  assert.equal(await rowOf(third, 'Cleo'), 3)
})

test('what a server that died has not made is made by who appended behind it, when nobody looks', {
  skip,
}, async t => {
  const { dying, others, settled, dies } = await cluster(t)
  const [next] = others
  await say(next, 'Ada')
  await until(async () => (await settled()) === 1, 'it is written down')
  dies()
  void say(dying, 'Bo').catch(() => {})
  await new Promise<void>(resolve => next.log.follow((_, { seq }) => seq === 2 && resolve()))
  await say(next, 'Cleo')
  await until(async () => (await settled()) === 3, 'it is made')
  assert.equal(await rowOf(next, 'Bo'), 2)
})

test('servers that append in turns write down how far all of it is made', { skip }, async t => {
  const { dying, others, settled } = await cluster(t, 20)
  const all = [dying, ...others]
  for (const nth of range(1, 60)) await say(all[nth % (nth < 40 ? 3 : 2)] as Storage, `${nth}`)
  await until(async () => (await settled()) === 60, 'all of it is')
})

test('who goes before it announces an entry has it told to the others when it is missed', { skip }, async t => {
  const { dying, others, n1 } = await cluster(t)
  const [next] = others
  await say(dying, 'Ada')
  await say(next, 'Bo')
  const watched = next.log.watch(OPS)
  t.after(watched)
  let isHeard = false
  next.log.follow((_, { seq }) => {
    isHeard ||= seq === 3
  })
  n1.bus.publish = () => {}
  await say(dying, 'Cleo')
  await n1[Symbol.asyncDispose]()
  await until(() => isHeard, 'what it stored last is told')
})
