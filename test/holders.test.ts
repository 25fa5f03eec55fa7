/** A session that comes here from another node waits for what that one writes, also where it could not be heard for a while. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Holders, type HoldersNeeds } from '../broker/holders.ts'
import { Hub } from '../storage/memory/hub.ts'
import { TestClock } from './support/core.ts'

const turn = () => new Promise(resolve => setImmediate(resolve))
const KEY = 'im/bob/phone'

/** Two nodes, of which the other does not answer, and was heard last so long ago. */
async function asks(silentMs: number) {
  const hub = new Hub()
  hub.join('n2')
  const cluster = hub.join('n1')
  cluster.bus.peers = () => [{ node: 'n2', silentMs }]
  const clock = new TestClock()
  const holders = new Holders({ cluster, scheduler: clock } as unknown as HoldersNeeds)
  const asked = { isOver: false, hasLeft: false }
  const over = holders
    .opening(KEY, leaves => leaves('n2/1', async () => asked.hasLeft))
    .then(() => {
      asked.isOver = true
    })
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 50) {
      clock.advance(50)
      await turn()
    }
  }
  return { asked, over, pass }
}

test('what a node writes that was silent and is back is waited for', async () => {
  const { asked, over, pass } = await asks(6_000)
  await pass(900)
  assert.equal(asked.isOver, false)
  asked.hasLeft = true
  await pass(250)
  await over
})

test('a node that stays silent is not waited for longer than a second', async () => {
  const { asked, over, pass } = await asks(6_000)
  await pass(950)
  assert.equal(asked.isOver, false)
  await pass(300)
  await over
})

test('a node that is heard is waited for for eight seconds', async () => {
  const { asked, over, pass } = await asks(500)
  await pass(7_900)
  assert.equal(asked.isOver, false)
  await pass(400)
  await over
})
