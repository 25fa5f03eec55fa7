/** Contract of `Records`: rows and versions, atomic writes, scans of tables and of indexes. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  type Change,
  check,
  type Found,
  put,
  putRanked,
  remove,
  removeRanked,
  type ScanRange,
  table,
} from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import { type Engine, fault, Ground, OPS, range, says } from './ground.ts'

interface Note {
  text: string
  topic?: string
  rank?: string
}
const NOTES = table<Note>('notes')
const OTHERS = table<Note>('note')
const BY_TOPIC = table<Note>('topical', {
  byTopic: row => (row.topic === undefined ? undefined : { partition: row.topic, sort: row.rank ?? '' }),
  byText: (row, { partition }) => ({ partition, sort: row.text }),
})

export const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
/** Any text that a key may be, with what sorts differently in UTF-16 and in UTF-8, and what other layouts trip over. */
const part = fc.oneof(
  fc.constantFrom(
    '',
    'a',
    'aa',
    'a\u0001',
    'b',
    '\u{1f30a}',
    '\uffee',
    '\u{10ffff}',
    '\u{10ffff}\u{10ffff}',
    '八',
    '!',
    '/',
  ),
  fc.string({ unit: 'binary', maxLength: 4 }).filter(text => !text.includes('\0')),
)

/** What a scan may be bounded by, all at once. */
const span = fc.record({ prefix: part, from: part, below: part }, { requiredKeys: [], noNullPrototype: true })
const isWithin = (
  text: string,
  { prefix = '', from = '', below }: { prefix?: string; from?: string; below?: string },
) => text.startsWith(prefix) && byBytes(text, from) >= 0 && (below === undefined || byBytes(text, below) < 0)

export function recordsContract(engine: Engine): void {
  describe(`records on ${engine.name}`, () => {
    test('a row is what was put last, and its version counts the writes', async t => {
      const ground = await Ground.of(engine, t)
      const { records } = ground
      assert.equal(await records.get(NOTES, 'p', 'k'), undefined)
      await records.write([put(NOTES, 'p', 'k', { text: 'one 八点见' })])
      await records.write([put(NOTES, 'p', 'k', { text: 'two' })])
      await records.write([put(OTHERS, 'p', 'k', { text: 'of another table' })])
      if (engine.keeps) await ground.reopen()
      const found = await ground.records.get(NOTES, 'p', 'k')
      assert.deepEqual([found?.row, found?.version, found?.partition, found?.key], [{ text: 'two' }, 2, 'p', 'k'])
      await ground.records.write([remove(NOTES, 'p', 'k')])
      assert.equal(await ground.records.get(NOTES, 'p', 'k'), undefined)
      assert.equal((await ground.records.get(OTHERS, 'p', 'k'))?.row.text, 'of another table')
    })

    test('many rows come in the order asked', async t => {
      const { records } = await Ground.of(engine, t)
      await records.write(range(1, 60).map(n => put(NOTES, `p${n % 3}`, `${n}`, { text: `${n}` })))
      const wanted = [60, 1, 61, 1, 33].map(n => ({ partition: `p${n % 3}`, key: `${n}` }))
      const found = await records.getMany(NOTES, wanted)
      assert.deepEqual(
        found.map(one => one?.row.text),
        ['60', '1', undefined, '1', '33'],
      )
      assert.deepEqual(await records.getMany(NOTES, []), [])
    })

    test('an expectation that does not hold refuses all of the write', async t => {
      const { records } = await Ground.of(engine, t)
      await records.write([put(NOTES, 'p', 'k', { text: 'one' }, 0)])
      const refused = (...changes: Change[]) =>
        assert.rejects(records.write([put(NOTES, 'p', 'new', { text: 'x' }), ...changes]), fault('conflict'))
      await refused(put(NOTES, 'p', 'k', { text: 'two' }, 0))
      await refused(put(NOTES, 'p', 'k', { text: 'two' }, 2))
      await refused(remove(NOTES, 'p', 'k', 2))
      await refused(remove(NOTES, 'p', 'absent', 1))
      await refused(check(NOTES, 'p', 'k', 2))
      await refused(check(NOTES, 'p', 'new', 0))
      assert.equal(await records.get(NOTES, 'p', 'new'), undefined)
      await records.write([check(NOTES, 'p', 'k', 1), check(NOTES, 'p', 'absent', 0)])
      await records.write([remove(NOTES, 'p', 'k', 1), put(NOTES, 'p', 'new', { text: 'x' }, 0)])
      assert.equal(await records.get(NOTES, 'p', 'k'), undefined)
      assert.equal((await records.get(NOTES, 'p', 'new'))?.version, 1)
    })

    test('changes of one row in one write come upon each other', async t => {
      const { records } = await Ground.of(engine, t)
      const one = put(BY_TOPIC, 'p', 'k', { text: 'one', topic: 'a' }, 0)
      await records.write([one, put(BY_TOPIC, 'p', 'k', { text: 'two', topic: 'b' }, 1)])
      assert.deepEqual((await records.get(BY_TOPIC, 'p', 'k'))?.version, 2)
      assert.deepEqual(await records.scan(BY_TOPIC, 'a', { index: 'byTopic', limit: 10 }), [])
      assert.equal((await records.scan(BY_TOPIC, 'b', { index: 'byTopic', limit: 10 })).length, 1)
    })

    test('of many who change a row from the same version, one does', async t => {
      const { records } = await Ground.of(engine, t)
      const count = async () => {
        for (;;) {
          const found = await records.get(NOTES, 'p', 'count')
          const text = String(Number(found?.row.text ?? 0) + 1)
          try {
            return await records.write([put(NOTES, 'p', 'count', { text }, found?.version ?? 0)])
          } catch (thrown) {
            if (!(thrown instanceof Fault && thrown.code === 'conflict')) throw thrown
          }
        }
      }
      await Promise.all(range(1, 20).map(count))
      const found = await records.get(NOTES, 'p', 'count')
      assert.deepEqual([found?.row.text, found?.version], ['20', 20])
    })

    test('of a ranked row the highest rank stays, whatever comes later', async t => {
      const { records } = await Ground.of(engine, t)
      const rank = fc.integer({ min: 1, max: 9 })
      const change = fc.record({ key: fc.constantFrom('a', 'b'), rank, text: fc.constantFrom('x', 'y', 'z') })
      let run = 0
      const property = fc.asyncProperty(fc.array(change, { maxLength: 12 }), async all => {
        const of = table<Note>(`ranked${++run}`, BY_TOPIC.indexes as never, { ranked: true, spread: true })
        const first = new Map<string, { rank: number; text: string }>()
        // Of two of the same rank either may stay, so only one is written.
        const told = all.filter(
          (one, nth) => all.findIndex(({ key, rank }) => key === one.key && rank === one.rank) === nth,
        )
        for (const { key, rank, text } of told) {
          await records.write([putRanked(of, 'p', key, { text, topic: text }, rank)])
          if (rank > (first.get(key)?.rank ?? 0)) first.set(key, { rank, text })
        }
        for (const key of ['a', 'b']) {
          const found = await records.get(of, 'p', key)
          assert.deepEqual(found && { rank: found.version, text: found.row.text }, first.get(key))
        }
        for (const topic of ['x', 'y', 'z']) {
          const found = await records.scan(of, topic, { index: 'byTopic', limit: 10 })
          const expected = [...first].filter(([, { text }]) => text === topic).map(([key]) => key)
          assert.deepEqual(found.map(({ key }) => key).sort(), expected.sort())
        }
        for (const [key, { rank }] of first) await records.write([removeRanked(of, 'p', key, rank)])
        assert.deepEqual(await records.getMany(of, [{ partition: 'p', key: 'a' }]), [undefined])
      })
      await fc.assert(property, { numRuns: 40 })
    })

    test('a change that does not fit its table is a mistake', async t => {
      const { records } = await Ground.of(engine, t)
      const ranked = table<Note>('by-rank', undefined, { ranked: true })
      for (const wrong of [
        put(ranked, 'p', 'k', { text: '' }),
        check(ranked, 'p', 'k', 1),
        putRanked(NOTES, 'p', 'k', { text: '' }, 1),
        putRanked(ranked, 'p', 'k', { text: '' }, 0),
        putRanked(ranked, 'p', 'k', { text: '' }, 1.5),
      ])
        await assert.rejects(records.write([wrong]), /rank/)
    })

    test('a write may change rows of ranked and of other tables, and an append too', async t => {
      const ground = await Ground.of(engine, t)
      const ranked = table<Note>('by-rank', undefined, { ranked: true })
      const changes = [putRanked(ranked, 'p', 'k', { text: 'ranked' }, 7), put(NOTES, 'p', 'k', { text: 'x' }, 0)]
      await ground.records.write(changes)
      await assert.rejects(
        ground.records.write([putRanked(ranked, 'p', 'k', { text: 'no' }, 9), ...changes]),
        fault('conflict'),
      )
      assert.equal((await ground.records.get(ranked, 'p', 'k'))?.row.text, 'ranked')
      await ground.log.append(OPS, says('hi'), {
        changes: at => [putRanked(ranked, 'p', 'k', { text: 'hi' }, 7 + at.seq)],
      })
      assert.deepEqual((await ground.records.get(ranked, 'p', 'k'))?.version, 8)
    })

    test('what need not be durable is there for every later read', async t => {
      const ground = await Ground.of(engine, t)
      await ground.records.write([put(NOTES, 'p', 'k', { text: 'soft' })], { durable: false })
      assert.equal((await ground.records.get(NOTES, 'p', 'k'))?.row.text, 'soft')
      if (engine.keeps) await ground.reopen()
      if (engine.keeps) assert.equal((await ground.records.get(NOTES, 'p', 'k'))?.row.text, 'soft')
    })

    test('a write takes up to 20,000 changes', async t => {
      const { records } = await Ground.of(engine, t)
      const many = (count: number) => range(1, count).map(n => put(NOTES, 'many', `${n}`, { text: '' }))
      await assert.rejects(records.write(many(20_001)), fault('too-large'))
      assert.deepEqual(await records.scan(NOTES, 'many', { limit: 1 }), [])
      await records.write(many(20_000))
      assert.equal((await records.get(NOTES, 'many', '20000'))?.version, 1)
      await records.write([])
    })

    test('keys that cannot be kept apart are refused', async t => {
      const { records } = await Ground.of(engine, t)
      for (const wrong of ['a\0b', '\ud800'])
        for (const change of [put(NOTES, wrong, 'k', { text: '' }), put(NOTES, 'p', wrong, { text: '' })])
          await assert.rejects(records.write([change]), fault('malformed'))
      await assert.rejects(records.write([put(BY_TOPIC, 'p', 'k', { text: 'a\0b' })]), fault('malformed'))
    })

    test('rows are scanned by UTF-8 bytes: any prefix, bounds, cursor, limit, either way', async t => {
      const ground = await Ground.of(engine, t)
      const rows = fc.uniqueArray(fc.tuple(fc.constantFrom('p', 'p2', ''), part), { selector: String, maxLength: 25 })
      let run = 0
      const property = fc.asyncProperty(rows, span, fc.nat(8), fc.boolean(), async (keys, span, limit, reverse) => {
        const of = table<Note>(`scan${++run}`)
        await ground.records.write(keys.map(([partition, key]) => put(of, partition, key, { text: key })))
        for (const partition of ['p', 'p2', '']) {
          const expected = keys.filter(at => at[0] === partition && isWithin(at[1], span)).map(at => at[1])
          expected.sort(byBytes)
          if (reverse) expected.reverse()
          const given = await pages(limit + 1, range =>
            ground.records.scan(of, partition, { ...range, ...span, reverse }),
          )
          assert.deepEqual(
            given.map(found => found.row.text),
            expected,
          )
        }
      })
      await fc.assert(property, { numRuns: 80 })
    })

    test('an index holds what its rows are now', async t => {
      const ground = await Ground.of(engine, t)
      const topic = fc.constantFrom('', 'x', 'y')
      const change = fc.record({
        key: fc.constantFrom('', 'a', 'b', 'c', '八'),
        row: fc.option(
          fc.record({ text: part, topic, rank: part }, { requiredKeys: ['text'], noNullPrototype: true }),
          { nil: undefined },
        ),
      })
      const writes = fc.array(fc.array(change, { maxLength: 4 }), { maxLength: 8 })
      let run = 0
      const property = fc.asyncProperty(writes, span, fc.nat(3), fc.boolean(), async (all, span, limit, reverse) => {
        const of = { ...BY_TOPIC, name: `indexed${++run}` }
        const now = new Map<string, Note>()
        for (const { key, row } of all.flat()) row ? now.set(key, row) : now.delete(key)
        const written = all.map(changes =>
          ground.records.write(changes.map(({ key, row }) => (row ? put(of, 'p', key, row) : remove(of, 'p', key)))),
        )
        await Promise.all(written)
        for (const partition of ['', 'x', 'y']) {
          const expected = [...now].filter(([, row]) => row.topic === partition && isWithin(row.rank ?? '', span))
          expected.sort((a, b) => byBytes(a[1].rank ?? '', b[1].rank ?? '') || byBytes(a[0], b[0]))
          if (reverse) expected.reverse()
          const given = await pages(limit + 1, range =>
            ground.records.scan(of, partition, { ...range, index: 'byTopic', ...span, reverse }),
          )
          assert.deepEqual(
            given.map(found => [found.key, found.row]),
            expected.map(([key, row]) => [key, row]),
          )
        }
      })
      await fc.assert(property, { numRuns: 80 })
    })

    test('a limit outside 1 to 1,000 is refused, and a cursor made up finds its place', async t => {
      const { records } = await Ground.of(engine, t)
      await records.write([put(NOTES, 'p', 'k', { text: 'x' }), put(NOTES, 'q', 'k', { text: 'x' })])
      for (const limit of [0, 1_001, 2.5]) await assert.rejects(records.scan(NOTES, 'p', { limit }), fault('malformed'))
      for (const after of ['', '!!', 'AAAA', '_____w'])
        for (const reverse of [true, false])
          assert.ok((await records.scan(NOTES, 'p', { limit: 5, after, reverse })).length <= 1)
    })
  })
}

/** All rows, a page at a time. */
async function pages(limit: number, scan: (range: ScanRange) => Promise<Found<Note>[]>) {
  const all: Found<Note>[] = []
  for (;;) {
    const after = all.at(-1)?.cursor
    const page = await scan({ limit, ...(after !== undefined && { after }) })
    all.push(...page)
    assert.ok(page.length <= limit)
    if (page.length < limit) return all
  }
}
