/** Contract of `MessageLog`: ranges, single entries, ends, positions in time. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { ReadRange } from '../../core/ports.ts'
import { conversation, type Engine, fault, Ground, OPS, range, runsOf, says, seq } from './ground.ts'

export function logReadingContract(engine: Engine): void {
  describe(`log on ${engine.name}: what is read`, () => {
    test('any range, either way, by count and by bytes', async t => {
      const ground = await Ground.of(engine, t)
      const count = 130
      await Promise.all(range(1, count).map(n => ground.log.append(OPS, says('x'.repeat((n * 37) % 300)))))
      // What lies beside it must not be read with it.
      await ground.log.append(conversation('g:op'), says('before'))
      await ground.log.append(conversation('g:ops2'), says('behind'))
      if (engine.keeps) await ground.reopen()
      const all = await ground.log.read(OPS, { limit: 1_000 })
      assert.deepEqual(
        all.map(entry => entry.seq),
        range(1, count),
      )
      const bound = fc.integer({ min: 0, max: count + 5 }).map(seq)
      const asked = fc.record(
        {
          limit: fc.integer({ min: 1, max: 200 }),
          after: bound,
          before: bound,
          maxBytes: fc.integer({ min: 1, max: 20_000 }),
          reverse: fc.boolean(),
        },
        { requiredKeys: ['limit'] },
      )
      const property = fc.asyncProperty(asked, async wanted => {
        const { after = 0, before = count + 1, limit, maxBytes = Number.POSITIVE_INFINITY, reverse } = wanted
        const given = await ground.log.read(OPS, wanted)
        const inRange = all.filter(entry => entry.seq > after && entry.seq < before)
        if (reverse) inRange.reverse()
        let bytes = 0
        const expected = inRange.slice(0, limit).filter(entry => {
          const wanted = bytes < maxBytes
          bytes += entry.bytes.length
          return wanted
        })
        const shown = (entry: (typeof all)[number]) => [entry.seq, Buffer.from(entry.bytes).toString()]
        assert.deepEqual(given.map(shown), expected.map(shown))
      })
      await fc.assert(property, { numRuns: runsOf(engine, 150) })
    })

    test('nothing is read of a conversation that has nothing', async t => {
      const { log } = await Ground.of(engine, t)
      assert.deepEqual(await log.read(OPS, { limit: 10 }), [])
      assert.deepEqual(await log.tails([OPS]), [{ seq: 0, n: 0, sentAt: 0, first: 1 }])
      assert.deepEqual(await log.get([{ conversation: OPS, seq: seq(1) }]), [undefined])
      assert.equal(await log.seqAt(OPS, 5), 1)
    })

    test('a limit outside 1 to 1,000 is refused', async t => {
      const { log } = await Ground.of(engine, t)
      const refused = (wrong: ReadRange) => assert.rejects(log.read(OPS, wrong), fault('malformed'))
      await Promise.all([0, -1, 1.5, 1_001, Number.NaN].map(limit => refused({ limit })))
    })

    test('single entries and ends come in the order asked', async t => {
      const ground = await Ground.of(engine, t)
      const [a, b, none] = [conversation('g:a'), conversation('g:b'), conversation('g:none')]
      await Promise.all(range(1, 12).map(n => ground.log.append(n % 3 ? a : b, says(`${n}`))))
      const wanted = [
        { conversation: b, seq: seq(4) },
        { conversation: none, seq: seq(1) },
        { conversation: a, seq: seq(8) },
        { conversation: a, seq: seq(9) },
        { conversation: b, seq: seq(1) },
        { conversation: b, seq: seq(1) },
      ]
      const look = async () => {
        const entries = await ground.log.get(wanted)
        assert.deepEqual(
          entries.map(entry => entry?.entry.text),
          ['12', undefined, '11', undefined, '3', '3'],
        )
        const tails = await ground.log.tails([b, none, a, b])
        assert.deepEqual(
          tails.map(tail => tail.seq),
          [4, 0, 8, 4],
        )
        assert.deepEqual([await ground.log.get([]), await ground.log.tails([])], [[], []])
      }
      await look()
      if (!engine.keeps) return
      await ground.reopen()
      await look()
    })

    test('a position is found by its time', async t => {
      const ground = await Ground.of(engine, t)
      const { clock } = ground
      const start = clock.time
      const times = [0, 0, 10, 10, 10, 25, 30, 30, 99]
      for (const time of times) {
        clock.time = start + time
        await ground.log.append(OPS, says('x'))
      }
      if (engine.keeps) await ground.reopen()
      for (let since = -1; since <= 101; since++) {
        const first = times.findIndex(time => time >= since)
        const expected = first < 0 ? times.length + 1 : first + 1
        assert.equal(await ground.log.seqAt(OPS, start + since), expected, `since ${since}`)
      }
    })

    test('what was appended is read at once, while more is appended', async t => {
      const { log } = await Ground.of(engine, t)
      const writers = range(1, 8).map(async writer => {
        for (let nth = 0; nth < 40; nth++) {
          const entry = await log.append(OPS, says(`${writer} ${nth}`))
          const [tail] = await log.tails([OPS])
          assert.ok(tail && tail.seq >= entry.seq)
          const [own] = await log.read(OPS, { after: seq(entry.seq - 1), limit: 5 })
          assert.equal(own?.entry.text, `${writer} ${nth}`)
        }
      })
      await Promise.all(writers)
      assert.deepEqual(
        (await log.read(OPS, { limit: 1_000 })).map(entry => entry.seq),
        range(1, 320),
      )
    })
  })
}
