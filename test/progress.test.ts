/** Long work of commands tells how far it has come, on standard error, now and then. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Progress } from '../server/commands/progress.ts'

test('progress is told every five seconds where standard error is no terminal', t => {
  let now = 0
  const said: string[] = []
  const isTerminal = process.stderr.isTTY
  process.stderr.isTTY = false
  t.after(() => {
    process.stderr.isTTY = isTerminal
  })
  t.mock.method(performance, 'now', () => now)
  t.mock.method(process.stderr, 'write', (text: string) => said.push(text))
  using progress = new Progress()
  for (; now <= 11_000; now += 1_000) progress.tell(() => `${now / 1_000} s`)
  assert.deepEqual(said, ['5 s\n', '10 s\n'])
})
