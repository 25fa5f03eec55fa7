/** Contract of `Records`: scans of tables and of indexes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Found, put, remove, type ScanRange, table } from '../../core/ports.ts'
import { type Engine, fault, Ground, runsOf } from './ground.ts'

export interface Note {
  text: string
  topic?: string
  rank?: string
}
export const NOTES = table<Note>('notes')
export const BY_TOPIC = table<Note>('topical', {
  byTopic: row => (row.topic === undefined ? undefined : { partition: row.topic, sort: row.rank ?? '' }),
  byText: (row, { partition }) => ({ partition, sort: row.text }),
})

const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
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

/** Called within the suite of records.ts, whose tables these are too. */
export function recordsScans(engine: Engine): void {
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
    await fc.assert(property, { numRuns: runsOf(engine, 80) })
  })

  test('an index holds what its rows are now', async t => {
    const ground = await Ground.of(engine, t)
    const topic = fc.constantFrom('', 'x', 'y')
    const change = fc.record({
      key: fc.constantFrom('', 'a', 'b', 'c', '八'),
      row: fc.option(fc.record({ text: part, topic, rank: part }, { requiredKeys: ['text'], noNullPrototype: true }), {
        nil: undefined,
      }),
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
    await fc.assert(property, { numRuns: runsOf(engine, 80) })
  })

  test('a limit outside 1 to 1,000 is refused, and a cursor made up finds its place', async t => {
    const { records } = await Ground.of(engine, t)
    await records.write([put(NOTES, 'p', 'k', { text: 'x' }), put(NOTES, 'q', 'k', { text: 'x' })])
    for (const limit of [0, 1_001, 2.5]) await assert.rejects(records.scan(NOTES, 'p', { limit }), fault('malformed'))
    for (const after of ['', '!!', 'AAAA', '_____w'])
      for (const reverse of [true, false])
        assert.ok((await records.scan(NOTES, 'p', { limit: 5, after, reverse })).length <= 1)
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
