/** Contract of `MessageLog`: taking back, and record changes in the same atomic write. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { StoredEntry } from '../../core/entry.ts'
import { check, put, remove, table } from '../../core/ports.ts'
import { conversation, type Engine, fault, Ground, OPS, range, recalls, runsOf, says, seq } from './ground.ts'

const NOTES = table<{ text: string }>('notes')
const WIDE = table<{ of: string }>('wide', { byOf: (row, { key }) => ({ partition: row.of, sort: key }) })
const texts = (entries: readonly StoredEntry[]) =>
  entries.map(({ entry }) => entry.text ?? entry.retracted ?? entry.kind)
const statuses = (outcomes: readonly PromiseSettledResult<unknown>[]) => outcomes.map(({ status }) => status)

export function logWritesContract(engine: Engine): void {
  describe(`log on ${engine.name}: taking back`, () => {
    test('a message that was taken back keeps place, sender and time, and no body', async t => {
      const ground = await Ground.of(engine, t)
      const stored = await ground.log.append(OPS, says('secret', 'c-1'))
      ground.clock.time += 1_000
      const recall = await ground.log.append(OPS, recalls(1), { retracts: seq(1) })
      assert.deepEqual([recall.seq, recall.n, recall.kind, recall.entry.target], [2, 1, 'recall', 1])
      const { text: _, ...kept } = stored.entry
      const look = async () => {
        const [first] = await ground.log.read(OPS, { limit: 10 })
        assert.deepEqual(first?.entry, { ...kept, retracted: 'recall' })
        assert.deepEqual([first?.seq, first?.n, first?.sentAt, first?.from], [1, 1, stored.sentAt, 'alice'])
        const [got] = await ground.log.get([{ conversation: OPS, seq: seq(1) }])
        assert.ok(got && !Buffer.from(got.bytes).includes('secret'))
      }
      await look()
      if (engine.keeps) await ground.reopen()
      await look()
      const repeat = await ground.log.append(OPS, says('secret', 'c-1'))
      assert.deepEqual([repeat.repeated, repeat.entry.retracted], [true, 'recall'])
      await assert.rejects(ground.log.append(OPS, says('other', 'c-1')), fault('client-message-id-reused'))
    })

    test('a burnt message says so', async t => {
      const { log } = await Ground.of(engine, t)
      await log.append(OPS, says('psst'))
      await log.append(OPS, recalls(1, 'burn'), { retracts: seq(1) })
      assert.deepEqual(texts(await log.read(OPS, { limit: 10 })), ['burn', 'burn'])
    })

    test('taking back twice, nothing, or what is no message is refused and writes nothing', async t => {
      const { log } = await Ground.of(engine, t)
      await log.append(OPS, says('one'))
      await log.append(OPS, recalls(1), { retracts: seq(1) })
      await assert.rejects(log.append(OPS, recalls(1), { retracts: seq(1) }), fault('already-recalled'))
      await assert.rejects(log.append(OPS, recalls(1, 'burn'), { retracts: seq(1) }), fault('already-recalled'))
      await assert.rejects(log.append(OPS, recalls(3), { retracts: seq(3) }), fault('no-such-entry'))
      await assert.rejects(log.append(OPS, recalls(2), { retracts: seq(2) }), fault('no-such-entry'))
      assert.equal((await log.append(OPS, says('two'))).seq, 3)
    })

    test('of two that take the same back at once, one does', async t => {
      const { log } = await Ground.of(engine, t)
      const outcomes = await Promise.allSettled([
        log.append(OPS, says('one')),
        log.append(OPS, recalls(1), { retracts: seq(1) }),
        log.append(OPS, recalls(1), { retracts: seq(1) }),
        log.append(OPS, says('two')),
      ])
      assert.deepEqual(statuses(outcomes), ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
      assert.deepEqual(texts(await log.read(OPS, { limit: 10 })), ['recall', 'recall', 'two'])
    })
  })

  describe(`log on ${engine.name}: record changes of an append`, () => {
    test('they know the position, and are there when the append resolves', async t => {
      const ground = await Ground.of(engine, t)
      const { time: sentAt } = ground.clock
      await ground.log.append(OPS, says('one'))
      await ground.log.append(OPS, says('two'), { changes: at => [put(NOTES, 'p', 'k', { text: JSON.stringify(at) })] })
      const found = await ground.records.get(NOTES, 'p', 'k')
      assert.deepEqual(found?.row, { text: JSON.stringify({ seq: 2, n: 2, sentAt }) })
    })

    test('a conflict refuses the whole append, and the next one takes its number', async t => {
      const { log, records } = await Ground.of(engine, t)
      await records.write([put(NOTES, 'p', 'k', { text: 'old' })])
      const heard: number[] = []
      log.follow((_, entry) => heard.push(entry.seq))
      const changes = () => [put(NOTES, 'p', 'new', { text: 'new' }), put(NOTES, 'p', 'k', { text: 'new' }, 7)]
      const refused = log.append(OPS, says('refused', 'c-1'), { changes })
      const next = log.append(OPS, says('next'))
      await assert.rejects(refused, fault('conflict'))
      assert.equal((await next).seq, 1)
      assert.deepEqual([await records.get(NOTES, 'p', 'new'), heard], [undefined, [1]])
      assert.equal((await records.get(NOTES, 'p', 'k'))?.row.text, 'old')
      assert.equal((await log.append(OPS, says('refused', 'c-1'))).repeated, false, 'a refusal is not remembered')
    })

    test('a conflict takes nothing back', async t => {
      const { log } = await Ground.of(engine, t)
      await log.append(OPS, says('one'))
      const changes = () => [check(NOTES, 'p', 'k', 3)]
      await assert.rejects(log.append(OPS, recalls(1), { retracts: seq(1), changes }), fault('conflict'))
      assert.deepEqual(texts(await log.read(OPS, { limit: 10 })), ['one'])
    })

    test('a repeat makes no changes', async t => {
      const { log, records } = await Ground.of(engine, t)
      let asked = 0
      const changes = () => {
        asked++
        return [put(NOTES, 'p', 'k', { text: 'x' })]
      }
      await Promise.all([1, 2, 3].map(() => log.append(OPS, says('hi', 'once'), { changes })))
      // Where others write too, they may be asked again for another place, and are made once.
      if (engine.alone) assert.equal(asked, 1)
      assert.equal((await records.get(NOTES, 'p', 'k'))?.version, 1)
    })

    test('changes that throw refuse the append alone', async t => {
      const { log } = await Ground.of(engine, t)
      const changes = () => {
        throw new TypeError('a mistake')
      }
      const outcomes = await Promise.allSettled([
        log.append(OPS, says('one')),
        log.append(OPS, says('two'), { changes }),
        log.append(OPS, says('three')),
      ])
      assert.deepEqual(statuses(outcomes), ['fulfilled', 'rejected', 'fulfilled'])
      assert.deepEqual(texts(await log.read(OPS, { limit: 10 })), ['one', 'three'])
    })

    test('thousands of them are one write with the entry', async t => {
      const ground = await Ground.of(engine, t)
      const add = range(1, 4_000).map(n => put(WIDE, 'members', `m${n}`, { of: 'ops' }, 0))
      await ground.log.append(OPS, says('everybody'), { changes: () => add })
      const drop = range(1, 4_000).map(n => remove(WIDE, 'members', `m${n}`, n === 4_000 ? 2 : 1))
      await assert.rejects(ground.log.append(OPS, says('nobody'), { changes: () => drop }), fault('conflict'))
      const page = await ground.records.scan(WIDE, 'ops', { index: 'byOf', limit: 1_000, prefix: 'm39' })
      assert.equal(page.length, 111)
      const rest = range(1, 4_000).map(n => remove(WIDE, 'members', `m${n}`))
      await ground.log.append(OPS, says('nobody'), { changes: () => rest })
      assert.deepEqual(await ground.records.scan(WIDE, 'ops', { index: 'byOf', limit: 10 }), [])
      assert.deepEqual(texts(await ground.log.read(OPS, { limit: 10 })), ['everybody', 'nobody'])
    })

    test('a counter changed by appends and by writes at once loses nothing', async t => {
      const ground = await Ground.of(engine, t)
      const moves = fc.array(fc.constantFrom('append', 'write', 'stale', 'pause'), { minLength: 1, maxLength: 30 })
      let run = 0
      const property = fc.asyncProperty(moves, async all => {
        const here = conversation(`g:${++run}`)
        let version = 0
        const calls: Promise<unknown>[] = []
        let before = ''
        for (const move of all) {
          // Appends come as they are called, and so do writes; one kind behind the other only where nobody else writes.
          const kind = move === 'write' ? 'write' : 'append'
          if (!engine.alone && kind !== before) await Promise.all(calls)
          before = kind
          const expects = move === 'stale' ? version + 1 : version
          const changes = () => [put(NOTES, here, 'counter', { text: move }, expects)]
          if (move === 'pause') await Promise.all(calls)
          else if (move === 'write') calls.push(ground.records.write(changes()))
          else if (move === 'append') calls.push(ground.log.append(here, says(move), { changes }))
          else calls.push(assert.rejects(ground.log.append(here, says(move), { changes }), fault('conflict')))
          if (move === 'append' || move === 'write') version++
        }
        await Promise.all(calls)
        const [tail] = await ground.log.tails([here])
        assert.equal(tail?.seq, all.filter(move => move === 'append').length)
        assert.equal((await ground.records.get(NOTES, here, 'counter'))?.version ?? 0, version)
      })
      await fc.assert(property, { numRuns: runsOf(engine, 40) })
    })
  })
}
