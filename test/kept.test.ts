/** Values kept in memory: loaded once, never older than the last change, and bounded. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Kept } from '../core/kept.ts'

function loads() {
  const waiting: { key: string; resolve: (value: { text: string }) => void; reject: (error: Error) => void }[] = []
  const load = (key: string) =>
    new Promise<{ text: string }>((resolve, reject) => waiting.push({ key, resolve, reject }))
  return { waiting, load }
}

test('many who ask at once wait for one load', async () => {
  const { waiting, load } = loads()
  const kept = new Kept({ load, most: 10 })
  const all = [kept.get('a'), kept.get('a'), kept.get('a')]
  assert.equal(waiting.length, 1)
  waiting[0]?.resolve({ text: 'one' })
  assert.deepEqual(await Promise.all(all), [{ text: 'one' }, { text: 'one' }, { text: 'one' }])
  assert.deepEqual(kept.get('a'), { text: 'one' })
})

test('what was read before a change is read again', async () => {
  const { waiting, load } = loads()
  const kept = new Kept({ load, most: 10 })
  const asked = kept.get('a')
  kept.drop('a')
  waiting[0]?.resolve({ text: 'old' })
  await new Promise(setImmediate)
  waiting[1]?.resolve({ text: 'new' })
  assert.deepEqual(await asked, { text: 'new' })
})

test('a load that fails is not kept', async () => {
  const { waiting, load } = loads()
  const kept = new Kept({ load, most: 10 })
  const asked = kept.get('a')
  waiting[0]?.reject(new Error('no'))
  await assert.rejects(async () => asked, { message: 'no' })
  void kept.get('a')
  assert.equal(waiting.length, 2)
})

test('the values used longest ago go when all weigh too much, and one that outweighs all stays alone', () => {
  const kept = new Kept<{ text: string }>({
    load: async () => ({ text: '' }),
    most: 10,
    weigh: ({ text }) => text.length,
  })
  kept.keep('a', { text: 'aaaa' })
  kept.keep('b', { text: 'bbbb' })
  kept.peek('a')
  kept.keep('c', { text: 'cccc' })
  assert.deepEqual(
    ['a', 'b', 'c'].map(key => kept.peek(key) !== undefined),
    [true, false, true],
  )
  kept.keep('d', { text: 'd'.repeat(20) })
  assert.deepEqual(
    ['a', 'c', 'd'].map(key => kept.peek(key) !== undefined),
    [false, false, true],
  )
  kept.drop('d')
  kept.keep('e', { text: 'e' })
  assert.ok(kept.peek('e'))
})
