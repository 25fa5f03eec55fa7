/** Contract of `MessageLog`: old entries that are removed. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { StoredEntry } from '../../core/entry.ts'
import type { MessageLog } from '../../core/ports.ts'
import { conversation, type Engine, fault, Ground, OPS, range, recalls, runsOf, says, seq } from './ground.ts'

const seqs = (entries: readonly StoredEntry[]) => entries.map(entry => entry.seq)
const end = async (log: MessageLog, key = OPS) => (await log.tails([key]))[0]
/** Says so many things, each a second after the one before. */
async function talk({ log, clock }: Ground, count: number, key = OPS): Promise<StoredEntry[]> {
  const said: StoredEntry[] = []
  for (const n of range(1, count)) {
    clock.time += 1_000
    said.push(await log.append(key, says(`${n}`, n % 2 ? `c-${n}` : undefined)))
  }
  return said
}

export function logTrimmingContract(engine: Engine): void {
  describe(`log on ${engine.name}: what is trimmed`, () => {
    test('what lies below is gone for every read, and all else stays as it was', async t => {
      const ground = await Ground.of(engine, t)
      const said = await talk(ground, 300)
      await ground.log.trim(OPS, seq(150))
      const look = async () => {
        const { log } = ground
        const { seq: last, n, sentAt, first = seq(1) } = (await end(log)) ?? {}
        assert.deepEqual([last, n, sentAt], [300, 300, said[299]?.sentAt])
        assert.ok(first > 1 && first <= 150, 'whole buckets may stay')
        assert.deepEqual(seqs(await log.read(OPS, { limit: 1_000 })), range(first, 300))
        assert.deepEqual(seqs(await log.read(OPS, { limit: 5 })), range(first, first + 4))
        assert.deepEqual(
          seqs(await log.read(OPS, { after: seq(7), limit: 40, maxBytes: 1e9 })),
          range(first, first + 39),
        )
        assert.deepEqual(seqs(await log.read(OPS, { limit: 1_000, reverse: true })), range(first, 300).reverse())
        assert.deepEqual(await log.read(OPS, { before: first, limit: 10 }), [])
        assert.deepEqual(await log.read(OPS, { before: first, limit: 10, reverse: true }), [])
        const wanted = [1, first - 1, first, 300].map(nth => ({ conversation: OPS, seq: seq(nth) }))
        const got = await log.get(wanted)
        assert.deepEqual(
          got.map(entry => entry?.seq),
          [undefined, undefined, first, 300],
        )
        assert.equal(await log.seqAt(OPS, 0), first)
        assert.equal(await log.seqAt(OPS, said[199]?.sentAt ?? 0), 200)
      }
      await look()
      await look()
      if (engine.keeps) await ground.reopen()
      await look()
      assert.equal((await ground.log.append(OPS, says('next'))).seq, 301)
    })

    test('the last entry is never removed', async t => {
      const ground = await Ground.of(engine, t)
      await ground.log.trim(OPS, seq(5))
      assert.deepEqual(await end(ground.log), { seq: 0, n: 0, sentAt: 0, first: 1 })
      await talk(ground, 20)
      await ground.log.trim(OPS, seq(1_000))
      const { first = seq(1) } = (await end(ground.log)) ?? {}
      assert.ok(first <= 20)
      assert.equal(seqs(await ground.log.read(OPS, { limit: 100 })).at(-1), 20)
      assert.equal((await ground.log.append(OPS, says('next'))).seq, 21)
    })

    test('less than was removed before removes nothing', async t => {
      const ground = await Ground.of(engine, t)
      await talk(ground, 100)
      await ground.log.trim(OPS, seq(60))
      const before = await end(ground.log)
      for (const below of [0, 1, 30, before?.first ?? 0]) await ground.log.trim(OPS, seq(below))
      assert.deepEqual(await end(ground.log), before)
    })

    test('one conversation’s entries are no other’s', async t => {
      const ground = await Ground.of(engine, t)
      const others = ['g:op', 'g:opsy', 'g:ops2', 'u:ops:x'].map(conversation)
      for (const key of [OPS, ...others]) await talk(ground, 20, key)
      await ground.log.trim(OPS, seq(20))
      if (engine.keeps) await ground.reopen()
      for (const key of others) assert.deepEqual(seqs(await ground.log.read(key, { limit: 100 })), range(1, 20), key)
    })

    test('a repeat of a removed message is stored no second time, and gets its tombstone', async t => {
      const ground = await Ground.of(engine, t)
      const [first] = await talk(ground, 300)
      assert.ok(first)
      await ground.log.trim(OPS, seq(200))
      const { first: there = 0 } = (await end(ground.log)) ?? {}
      const { text: _, ...place } = first.entry
      for (const again of engine.keeps ? [false, true, false] : [false, false]) {
        if (again) await ground.reopen()
        if (there <= 1) break
        const repeat = await ground.log.append(OPS, says('1', 'c-1'))
        assert.equal(repeat.repeated, true)
        assert.deepEqual(repeat.entry, { ...place, retracted: 'retention' })
        assert.deepEqual([repeat.seq, repeat.n, repeat.from, repeat.sentAt], [1, 1, 'alice', first.sentAt])
        await assert.rejects(ground.log.append(OPS, says('another', 'c-1')), fault('client-message-id-reused'))
      }
      assert.equal((await end(ground.log))?.seq, 300)
    })

    test('nothing can be taken back that is removed', async t => {
      const ground = await Ground.of(engine, t)
      await talk(ground, 300)
      await ground.log.append(OPS, recalls(250), { retracts: seq(250) })
      await ground.log.trim(OPS, seq(200))
      const { first = seq(1) } = (await end(ground.log)) ?? {}
      for (const target of [1, first - 1])
        await assert.rejects(ground.log.append(OPS, recalls(target), { retracts: seq(target) }), fault('no-such-entry'))
      const [taken] = await ground.log.get([{ conversation: OPS, seq: seq(250) }])
      assert.equal(taken?.entry.retracted, 'recall')
      assert.equal((await ground.log.append(OPS, recalls(260), { retracts: seq(260) })).seq, 302)
    })

    test('whoever reads while it happens gets a whole end of the log', async t => {
      const ground = await Ground.of(engine, t)
      let run = 0
      const steps = fc.array(
        fc.record({
          does: fc.constantFrom('say', 'trim', 'read', 'get', 'seqAt'),
          at: fc.integer({ min: 1, max: 220 }),
          maxBytes: fc.constantFrom(1, 3_000, 1e9),
          reverse: fc.boolean(),
          waits: fc.boolean(),
        }),
        { minLength: 5, maxLength: 40 },
      )
      const property = fc.asyncProperty(steps, async all => {
        const here = conversation(`g:run${++run}`)
        await Promise.all(range(1, 200).map(n => ground.log.append(here, says(`${n}`, `c-${n}`))))
        const { log } = ground
        const calls: Promise<unknown>[] = []
        for (const { does, at, maxBytes, reverse, waits } of all) {
          if (does === 'say') calls.push(log.append(here, says('more')))
          else if (does === 'trim') calls.push(log.trim(here, seq(at)))
          else if (does === 'get') calls.push(log.get([{ conversation: here, seq: seq(at) }]))
          else if (does === 'seqAt') calls.push(log.seqAt(here, ground.clock.time))
          else
            calls.push(
              log.read(here, { after: seq(at), limit: 100, maxBytes, reverse }).then(entries => {
                const [low = 0] = seqs(reverse ? entries.toReversed() : entries)
                assert.deepEqual(
                  seqs(reverse ? entries.toReversed() : entries),
                  range(low, low + entries.length - 1).slice(0, entries.length),
                )
              }),
            )
          if (waits) await Promise.all(calls)
        }
        await Promise.all(calls)
        const { first = 0, seq: last = 0 } = (await end(log, here)) ?? {}
        const below = Math.max(1, ...all.filter(({ does }) => does === 'trim').map(({ at }) => at))
        assert.ok(first <= below)
        assert.deepEqual(seqs(await log.read(here, { limit: 1_000 })), range(first, last))
        for (const n of [1, 1 + (below % 200), 200])
          assert.equal((await log.append(here, says(`${n}`, `c-${n}`))).seq, n)
      })
      await fc.assert(property, { numRuns: runsOf(engine, 40) })
    })
  })
}
