/** Contract of the counting of attempts, in memory and where all nodes count together. */
import assert from 'node:assert/strict'
import { suite, type TestContext, test } from 'node:test'
import type { Throttle } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'

export interface ThrottleEngine {
  name: string
  skip: string | false
  make(t: TestContext): Promise<Throttle>
}

/** How long one is told to wait. */
export async function refusal(taking: Promise<void>): Promise<number> {
  const fault = await taking.then(
    () => assert.fail('it was taken'),
    thrown => thrown,
  )
  assert.ok(fault instanceof Fault && fault.code === 'too-many-requests', String(fault))
  return fault.details.retryAfterMs as number
}

export function throttleContract(engine: ThrottleEngine): void {
  suite(`throttle: ${engine.name}`, { skip: engine.skip }, () => {
    test('each key has so many attempts, and then is told how long to wait', async t => {
      const counter = await engine.make(t)
      for (const [key, points, windowMs] of [
        ['account:im/alice', 10, 600_000],
        ['guesses:10.1.1.1', 100, 600_000],
        ['entrance:10.1.1.1', 120, 60_000],
      ] as const) {
        for (let i = 0; i < points; i++) await counter.take(key)
        const wait = await refusal(counter.take(key))
        assert.ok(wait > windowMs - 20_000 && wait <= windowMs, `${key}: ${wait} ms`)
        await counter.take(`${key}2`)
      }
    })

    test('attempts made at once are counted one by one', async t => {
      const counter = await engine.make(t)
      const made = await Promise.allSettled(Array.from({ length: 30 }, () => counter.take('account:im/alice')))
      assert.equal(made.filter(({ status }) => status === 'fulfilled').length, 10)
    })

    test('where one count is full nothing is taken of the others', async t => {
      const counter = await engine.make(t)
      for (let i = 0; i < 10; i++) await counter.take('account:im/alice', 'guesses:x')
      for (let i = 0; i < 120; i++) await refusal(counter.take('guesses:x', 'account:im/alice'))
      for (let i = 0; i < 90; i++) await counter.take('guesses:x')
      await refusal(counter.take('guesses:x'))
    })

    test('an attempt given back can be made again, and more than were made give no credit', async t => {
      const counter = await engine.make(t)
      await counter.giveBack('account:im/alice')
      for (let i = 0; i < 10; i++) await counter.take('account:im/alice')
      await counter.giveBack('account:im/alice')
      await counter.take('account:im/alice')
      await refusal(counter.take('account:im/alice'))
      await Promise.all(Array.from({ length: 30 }, () => counter.giveBack('account:im/alice')))
      for (let i = 0; i < 10; i++) await counter.take('account:im/alice')
      await refusal(counter.take('account:im/alice'))
    })

    test('what is forgotten begins anew', async t => {
      const counter = await engine.make(t)
      for (let i = 0; i < 10; i++) await counter.take('account:im/alice')
      await counter.forget('account:im/alice', 'guesses:never seen')
      for (let i = 0; i < 10; i++) await counter.take('account:im/alice')
      await refusal(counter.take('account:im/alice'))
    })
  })
}
