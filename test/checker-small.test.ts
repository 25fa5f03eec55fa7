/** The checker on small histories by hand: what looks like a breach and is none, and the least that is one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check } from './checker/check.ts'
import type { Operation } from './checker/history.ts'
import { RIGHT } from './checker/small-right.ts'
import { WRONG } from './checker/small-wrong.ts'
import { acked, bob, got, log, PAIR, sent } from './checker/words.ts'

const [A, B] = [sent('a'), sent('b')]

for (const [name, verdicts, history] of [...RIGHT, ...WRONG]) {
  test(`a small history: ${name}: ${verdicts[0] ?? 'nothing is found'}`, () => {
    const found = check(history)
    assert.deepEqual([...new Set(found.map(({ verdict }) => verdict))], verdicts, JSON.stringify(found))
  })
}

test('a finding says who, where and what', () => {
  const history = [...bob('b1'), A, B, acked('a'), acked('b'), got('b1', 1, 'a'), got('b1', 1, 'a'), log(PAIR, 'a')]
  assert.deepEqual(check(history), [
    { verdict: 'doubled', says: 'bob (phone) got u:alice:bob 1 “a” again on the same connection, b1' },
    { verdict: 'lost', says: '“b” from alice to u:alice:bob was acknowledged at 20, and is not in the log' },
  ])
})

test('with retention a log starts anywhere, and a gap up to there is right', () => {
  const entries = [{ seq: 9, n: 7, kind: 'message', from: 'alice', sentAt: 1, text: 'a' }]
  const gap = got('b1', 8, undefined, { kind: 'gap', from: 3 })
  const history: Operation[] = [
    ...bob('b1'),
    A,
    gap,
    got('b1', 9, 'a'),
    { do: 'log', at: 90, conversation: PAIR, entries },
  ]
  assert.deepEqual(check(history, { retention: true }), [])
  assert.ok(check(history).length > 0)
})

test('a gap makes up for what is in it, and not for what is missing right before it', () => {
  const told = (from: number) => [...bob('b1'), A, B, got('b1', 1, 'a'), got('b1', 5, undefined, { kind: 'gap', from })]
  const entries = [{ seq: 6, n: 6, kind: 'message', from: 'alice', sentAt: 1, text: 'b' }]
  const rest: Operation = { do: 'log', at: 90, conversation: PAIR, entries }
  const found = (from: number) => check([...told(from), rest], { retention: true }).map(({ verdict }) => verdict)
  assert.deepEqual(found(2), [])
  assert.deepEqual(found(3), ['gap'])
})
