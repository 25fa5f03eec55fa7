/** Contract of the cache, over every adapter. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import type { Cached } from '../../core/ports.ts'
import { seedOfRun } from '../support/proof.ts'
import { type ClusterEngine, nodes } from './cluster.ts'
import { range } from './ground.ts'

export function cacheContract(engine: ClusterEngine): void {
  suite(`cache: ${engine.name}`, { skip: engine.skip }, () => {
    test('fields are merged, and read by every node as they were', async t => {
      const [a, b] = await nodes(engine, t, 'a', 'b')
      assert.equal(await a.cache.merge('s', { 'g:ops': '12', 'u:a:b': Buffer.from([0, 255]) }, 3), 'kept')
      assert.equal(await b.cache.merge('s', { 'g:ops': '13', 八: new Uint8Array() }, 3), 'kept')
      assert.deepEqual(plain(await a.cache.read('s')), {
        rank: 3,
        fields: { 'g:ops': '3133', 'u:a:b': '00ff', 八: '' },
      })
      assert.equal(await a.cache.read('other'), undefined)
    })

    test('a higher rank begins anew, and lower ones change nothing any more', async t => {
      const [a, b] = await nodes(engine, t, 'a', 'b')
      await a.cache.merge('s', { x: '1', y: '1' }, 3)
      assert.equal(await b.cache.merge('s', { x: '2' }, 10), 'kept')
      assert.equal(await a.cache.merge('s', { y: '3' }, 9), 'outranked')
      assert.equal(await a.cache.drop('s', 9), 'outranked')
      assert.deepEqual(plain(await a.cache.read('s')), { rank: 10, fields: { x: '32' } })
      assert.equal(await b.cache.drop('s', 10), 'kept')
      assert.equal(await a.cache.merge('s', { x: '4' }, 9), 'outranked')
      assert.deepEqual(plain(await a.cache.read('s')), { rank: 10, fields: {} })
      assert.equal(await a.cache.merge('s', { x: '5' }, 10), 'kept')
    })

    test('ranks are compared as numbers up to 2^53', async t => {
      const [a] = await nodes(engine, t, 'a')
      const top = Number.MAX_SAFE_INTEGER
      await a.cache.merge('s', { x: '1' }, top)
      assert.equal(await a.cache.merge('s', { x: '2' }, top - 1), 'outranked')
      assert.deepEqual(plain(await a.cache.read('s')), { rank: top, fields: { x: '31' } })
    })

    test('a thousand fields are merged at once, and no more', async t => {
      const [a] = await nodes(engine, t, 'a')
      const fields = (count: number) => Object.fromEntries(range(1, count).map(n => [`g:${n}`, `${n}`]))
      assert.equal(await a.cache.merge('s', fields(1_000), 1), 'kept')
      assert.equal(Object.keys((await a.cache.read('s'))?.fields ?? {}).length, 1_000)
      await assert.rejects(a.cache.merge('s', fields(1_001), 1), RangeError)
      await assert.rejects(a.cache.merge('s', { '': 'the rank stands there' }, 1), RangeError)
    })

    test('in whatever order writes arrive, the highest rank alone is left, with what it wrote', async t => {
      const [a, b] = await nodes(engine, t, 'a', 'b')
      const write = fc.record({
        rank: fc.integer({ min: 0, max: 12 }),
        by: fc.constantFrom(a, b),
        fields: fc.option(fc.dictionary(fc.constantFrom('x', 'y', '群'), fc.constantFrom('1', '2', '3')), {
          nil: undefined,
        }),
      })
      const seed = seedOfRun()
      let run = 0
      const property = fc.asyncProperty(fc.array(write, { minLength: 1, maxLength: 12 }), async writes => {
        const key = `run:${++run}`
        for (const { rank, by, fields } of writes)
          await (fields ? by.cache.merge(key, fields, rank) : by.cache.drop(key, rank))
        const highest = Math.max(...writes.map(({ rank }) => rank))
        const expected: Record<string, string> = {}
        for (const { rank, fields } of writes)
          if (rank === highest) {
            if (!fields) for (const name of Object.keys(expected)) delete expected[name]
            else for (const [name, value] of Object.entries(fields)) expected[name] = text(value)
          }
        assert.deepEqual(plain(await a.cache.read(key)), { rank: highest, fields: expected })
      })
      await fc.assert(property, { numRuns: 150, seed })
    })
  })
}

const text = (value: string) => Buffer.from(value).toString('hex')
const plain = (cached: Cached | undefined) =>
  cached && {
    rank: cached.rank,
    fields: Object.fromEntries(Object.entries(cached.fields).map(([name, value]) => [name, value.toString('hex')])),
  }
