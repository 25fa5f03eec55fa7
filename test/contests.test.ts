/** Nodes that meet at a conversation take turns; where nobody answers they go on without. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Cluster } from '../core/ports.ts'
import { Contest, Contests } from '../storage/cassandra/contests.ts'
import { Hub } from '../storage/memory/hub.ts'
import { conversation, range } from './contracts/ground.ts'

function join(t: TestContext, hub: Hub, name: string): { contests: Contests; cluster: Cluster } {
  const cluster = hub.join(name)
  const contests = new Contests(cluster)
  t.after(() => contests.close())
  return { contests, cluster }
}

test('one node after the other has its turn, at each of many conversations', async t => {
  const hub = new Hub()
  const all = ['a', 'b', 'c'].map(name => join(t, hub, name))
  for (const here of range(1, 20).map(n => conversation(`g:${n}`))) {
    const has = new Set<number>()
    let had = 0
    const take = async (nth: number) => {
      const giveBack = await (all[nth] as (typeof all)[0]).contests.turn(here)
      assert.equal(has.size, 0, 'nobody else has it')
      has.add(nth)
      await new Promise(resolve => setImmediate(resolve))
      has.delete(nth)
      had++
      giveBack()
    }
    await Promise.all(range(0, 8).map(n => take(n % 3)))
    assert.equal(had, 9)
  }
})

test('a turn that is never given back ends, and whom nobody answers goes on without', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const hub = new Hub()
  const [a, b] = [join(t, hub, 'a'), join(t, hub, 'b')]
  const here = conversation('g:hot')
  await a.contests.turn(here)
  const next = b.contests.turn(here)
  await new Promise(resolve => setImmediate(resolve))
  t.mock.timers.tick(1_000)
  const giveBack = await next
  giveBack()
  // Neither is answered now, whichever would be asked.
  for (const { cluster } of [a, b]) cluster.bus.publish = () => {}
  const alone = range(1, 10).map(n => b.contests.turn(conversation(`g:${n}`)))
  await new Promise(resolve => setImmediate(resolve))
  t.mock.timers.tick(2_000)
  for (const turn of await Promise.all(alone)) turn()
})

test('a node that is alone with a conversation again asks for no turn any more', async t => {
  const { contests } = join(t, new Hub(), 'a')
  let asked = 0
  const { turn } = contests
  contests.turn = here => {
    asked++
    return turn.call(contests, here)
  }
  const contest = new Contest(contests, conversation('g:hot'))
  const append = async (others: number) => {
    await contest.turn()
    contest.giveBack(others)
  }
  await append(0)
  assert.equal(asked, 0, 'nobody was in the way')
  contest.lost()
  for (const others of range(1, 40)) await append(others)
  assert.equal(asked, 40, 'others append in between')
  for (const _ of range(1, 40)) await append(40)
  assert.equal(asked, 56, 'sixteen in a row, and it is calm')
})
