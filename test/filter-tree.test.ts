/** The tree of filters takes what each filter by itself takes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FilterTree } from '../broker/filter-tree.ts'
import { filterTakes } from '../protocol/topics.ts'

const level = fc.constantFrom('im', 'a', 'b', '')
const name = fc.array(level, { minLength: 1, maxLength: 5 }).map(levels => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 5 }), fc.boolean())
  .map(([levels, rest]) => [...levels, ...(rest ? ['#'] : [])].join('/'))

test('a name is taken by the filters that take it one by one', () => {
  fc.assert(
    fc.property(fc.uniqueArray(filter, { maxLength: 30 }), name, (filters, topic) => {
      const found = new FilterTree(filters.map(each => [each, each] as const)).of(topic)
      assert.deepEqual(found.sort(), filters.filter(each => filterTakes(each, topic)).sort())
    }),
    { numRuns: 2_000 },
  )
})
