/** Contract of `Archive` and `Restoration`: what is stored comes out as items, and goes in again as it was. */
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { put, remove, type Table, table } from '../../core/ports.ts'
import type { Archive, Item, Restoration } from '../../storage/archive.ts'
import { conversation, type Engine, fault, Ground, OPS, range, recalls, says, seq } from './ground.ts'

interface Note {
  text: string
  topic?: string
}
const NOTES = table<Note>('notes', {
  byTopic: row => (row.topic === undefined ? undefined : { partition: row.topic, sort: row.text }),
})

/** An engine with a place for one storage. */
export interface Place extends Engine {
  archived<T>(use: (archive: Archive) => Promise<T>): Promise<T>
  restoration(tables: readonly Table<never>[]): Promise<Restoration>
}

export async function allOf(archive: Archive): Promise<Item[]> {
  const all: Item[] = []
  for await (const items of archive.items()) all.push(...items)
  return all
}
const OTHER = conversation('u:alice:bob')
const TRIMMED = conversation('g:trimmed')
const INDEXED = [NOTES] as readonly Table<never>[]

/** Two conversations with a tombstone, and records, of which one was removed. */
async function lived(place: Place, t: TestContext): Promise<Ground> {
  const ground = await Ground.of(place, t)
  const { log, records } = ground
  for (const n of range(1, 5)) await log.append(OPS, says(`${n} 八点见 ,"entry":{}`, `c,"${n}`))
  await log.append(OPS, recalls(2), { retracts: seq(2) })
  await log.append(OTHER, says('without an id'))
  for (const n of range(1, 6)) await log.append(TRIMMED, says(`${n}`, n % 2 ? `c${n}` : undefined))
  await log.trim(TRIMMED, seq(5))
  await records.write([
    put(NOTES, 'p,"row":', 'k', { text: 'one ,"row":{}', topic: 'x' }),
    put(NOTES, 'p', 'k', { text: '1' }),
  ])
  await records.write([put(NOTES, 'p', 'k', { text: 'two' }), put(NOTES, 'p', 'gone', { text: '' })])
  await records.write([remove(NOTES, 'p', 'gone')])
  return ground
}

export function archiveContract(name: string, make: (t: TestContext) => Promise<Place>): void {
  describe(`an archive of ${name}`, () => {
    test('has every item once, conversations before records, and is the same each time', async t => {
      const place = await make(t)
      await lived(place, t)
      const items = await place.archived(allOf)
      assert.deepEqual(await place.archived(allOf), items)
      const kinds = items.map(({ kind }) => kind).join(' ')
      assert.equal(
        kinds,
        [
          ...['conversation', ...Array(6).fill('entry'), ...Array(5).fill('repeat')],
          ...['conversation', 'remains', 'remains', 'entry', 'entry', ...Array(3).fill('repeat')],
          ...['conversation', 'entry', 'record', 'record'],
        ].join(' '),
      )
      assert.deepEqual(
        items.flatMap(item => (item.kind === 'entry' && item.retracted ? item.seq : [])),
        [2],
      )
      const note = items.find(item => item.kind === 'record' && item.key === 'k' && item.partition === 'p')
      assert.deepEqual(note, {
        kind: 'record',
        table: 'notes',
        partition: 'p',
        key: 'k',
        version: 2,
        json: '{"text":"two"}',
      })
    })

    test('is of the moment when it was begun, whatever is written meanwhile', async t => {
      const place = await make(t)
      const { log } = await lived(place, t)
      const { before, after } = await place.archived(async archive => {
        const before = await allOf(archive)
        await log.append(OPS, says('later'))
        return { before, after: await allOf(archive) }
      })
      assert.deepEqual(after, before)
    })

    test('fills another storage, which then says the same and goes on alike', async t => {
      const [from, to] = [await make(t), await make(t)]
      const old = await lived(from, t)
      const items = await from.archived(allOf)
      const restoration = await to.restoration(INDEXED)
      // In any order, and some of them twice.
      await restoration.put(items.toReversed(), 'first')
      await restoration.put(items.slice(0, 4), 'second')
      assert.deepEqual(await allOf(restoration), items)
      await restoration.finish()
      assert.deepEqual(await to.archived(allOf), items)

      const ground = await Ground.of(to, t)
      for (const key of [OPS, OTHER, TRIMMED])
        assert.deepEqual(
          (await ground.log.read(key, { limit: 100 })).map(({ bytes }) => Buffer.from(bytes).toString()),
          (await old.log.read(key, { limit: 100 })).map(({ bytes }) => Buffer.from(bytes).toString()),
        )
      const again = await ground.log.append(OPS, says('3 八点见 ,"entry":{}', 'c,"3'))
      assert.deepEqual([again.seq, again.repeated], [3, true])
      assert.equal((await ground.log.append(TRIMMED, says('3', 'c3'))).entry.retracted, 'retention')
      assert.deepEqual(await ground.log.tails([OPS, OTHER, TRIMMED]), await old.log.tails([OPS, OTHER, TRIMMED]))
      await assert.rejects(ground.log.append(OPS, says('other', 'c,"2')), fault('client-message-id-reused'))
      await assert.rejects(ground.log.append(OPS, recalls(2), { retracts: seq(2) }), fault('already-recalled'))
      assert.equal((await ground.log.append(OPS, says('next'))).seq, 7)
      const found = await ground.records.scan(NOTES, 'x', { index: 'byTopic', limit: 10 })
      assert.deepEqual([found[0]?.partition, found[0]?.version], ['p,"row":', 1])
      await ground.records.write([put(NOTES, 'p', 'k', { text: 'three' }, 2)])
    })

    test('is filled in several runs, and no server opens it before the end', async t => {
      const [from, to] = [await make(t), await make(t)]
      await lived(from, t)
      const items = await from.archived(allOf)
      {
        await using first = await to.restoration(INDEXED)
        assert.equal(await first.noted(), undefined)
        await first.put(items.slice(0, 6), 'six')
        await assert.rejects(to.restoration(INDEXED), /in use/)
      }
      await assert.rejects(Ground.of(to, t), /not finished/)
      await using second = await to.restoration(INDEXED)
      assert.equal(await second.noted(), 'six')
      await second.put(items.slice(6), 'all')
      assert.deepEqual(await allOf(second), items)
      await second.finish()
      await Ground.of(to, t)
      await assert.rejects(to.restoration(INDEXED), /is there already/)
    })
  })
}
