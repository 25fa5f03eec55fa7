/** Contract of `Records`: rows and versions, atomic writes. What is scanned stands beside. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Change, check, put, putRanked, remove, removeRanked, table } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import { type Engine, fault, Ground, OPS, range, runsOf, says } from './ground.ts'
import { BY_TOPIC, NOTES, type Note, recordsScans } from './records-scans.ts'

const OTHERS = table<Note>('note')

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
      await fc.assert(property, { numRuns: runsOf(engine, 40) })
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

    recordsScans(engine)
  })
}
