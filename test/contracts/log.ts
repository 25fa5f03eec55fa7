/** Contract of `MessageLog`: what is stored, and who hears of it. What is read and changed with it stands beside. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { StoredEntry } from '../../core/entry.ts'
import { conversation, type Engine, fault, Ground, OPS, range, runsOf, says } from './ground.ts'

const jsonOf = (entry: StoredEntry) => Buffer.from(entry.bytes).toString()
const seqs = (entries: readonly StoredEntry[]) => entries.map(entry => entry.seq)

export function logContract(engine: Engine): void {
  describe(`log on ${engine.name}: what is stored`, () => {
    test('an entry is its draft, stamped, as the bytes that clients get', async t => {
      const { log, clock } = await Ground.of(engine, t)
      const text = 'See you at six 🌊 八点见 "\\\u2028'
      const entry = await log.append(OPS, says(text, 'c-1'))
      const { id } = entry.entry
      const head = `{"kind":"message","conversation":"g:ops","seq":1,"n":1,"id":"${id}","from":"alice","sentAt":${clock.time},`
      assert.equal(jsonOf(entry), `${head}"type":"text","text":${JSON.stringify(text)},"clientMessageId":"c-1"}`)
      assert.deepEqual(
        [entry.seq, entry.n, entry.kind, entry.from, entry.sentAt, entry.repeated],
        [1, 1, 'message', 'alice', clock.time, false],
      )
      assert.match(id, /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/)
      assert.equal(id.slice(0, 10), '01M3250V00', 'its first ten digits are sentAt')
      const [read] = await log.read(OPS, { limit: 1 })
      assert.ok(read)
      assert.deepEqual([read.n, read.kind, read.from, read.sentAt], [1, 'message', 'alice', clock.time])
      assert.equal(jsonOf(read), jsonOf(entry))
    })

    test('an entry may have no fields of its own', async t => {
      const { log } = await Ground.of(engine, t)
      const entry = await log.append(OPS, { kind: 'call', from: '$system', body: {} })
      assert.deepEqual(Object.keys(entry.entry), ['kind', 'conversation', 'seq', 'n', 'id', 'from', 'sentAt'])
    })

    test('a draft cannot bring the fields that the log gives', async t => {
      const { log } = await Ground.of(engine, t)
      const forged = { ...says('x'), body: { type: 'text', text: 'x', from: 'bob' } }
      await assert.rejects(log.append(OPS, forged), fault('malformed'))
      assert.equal((await log.append(OPS, says('y'))).seq, 1)
    })

    test('calls get their numbers in order, also when none is awaited', async t => {
      const { log } = await Ground.of(engine, t)
      const a = conversation('g:a')
      const b = conversation('g:ab')
      const entries = await Promise.all(range(0, 2_499).map(nth => log.append(nth % 5 ? a : b, says(`${nth}`))))
      const toB = entries.filter((_, nth) => nth % 5 === 0)
      assert.deepEqual(seqs(entries.filter((_, nth) => nth % 5)), range(1, 2_000))
      assert.deepEqual(seqs(toB), range(1, 500))
      assert.equal(new Set(entries.map(entry => entry.entry.id)).size, 2_500)
      assert.deepEqual((await log.read(b, { limit: 500 })).map(jsonOf), toB.map(jsonOf))
    })

    test('n counts messages only, and sentAt never goes back', async t => {
      const { log, clock } = await Ground.of(engine, t)
      const first = await log.append(OPS, says('one'))
      clock.time -= 5_000
      const second = await log.append(OPS, { kind: 'members', from: '$system', body: { action: 'joined' } })
      const third = await log.append(OPS, says('two'))
      clock.time += 9_000
      const fourth = await log.append(OPS, says('three'))
      assert.deepEqual([first.n, second.n, third.n, fourth.n], [1, 1, 2, 3])
      const { sentAt } = first
      assert.deepEqual([second.sentAt, third.sentAt, fourth.sentAt], [sentAt, sentAt, sentAt + 4_000])
      assert.equal(third.entry.id.slice(0, 10), first.entry.id.slice(0, 10))
      assert.deepEqual(await log.tails([OPS]), [{ seq: 4, n: 3, sentAt: sentAt + 4_000, first: 1 }])
    })

    test('the same clientMessageId from three connections at once is one entry', async t => {
      const { log } = await Ground.of(engine, t)
      const told: number[] = []
      log.follow((_, entry) => told.push(entry.seq))
      const entries = await Promise.all([1, 2, 3].map(() => log.append(OPS, says('hi', 'once'))))
      assert.deepEqual(
        entries.map(entry => [entry.seq, entry.repeated]),
        [
          [1, false],
          [1, true],
          [1, true],
        ],
      )
      assert.equal(new Set(entries.map(jsonOf)).size, 1)
      assert.equal((await log.append(OPS, says('hi', 'once'))).repeated, true)
      assert.deepEqual([told, seqs(await log.read(OPS, { limit: 10 }))], [[1], [1]])
    })

    test('a clientMessageId is its sender’s, in one conversation', async t => {
      const { log } = await Ground.of(engine, t)
      await log.append(OPS, says('hi', 'once'))
      const others = await Promise.all([
        log.append(OPS, says('hi', 'once', 'bob')),
        log.append(conversation('g:other'), says('hi', 'once')),
        log.append(OPS, says('hi')),
        log.append(OPS, says('hi')),
      ])
      assert.ok(others.every(entry => !entry.repeated))
    })

    test('the same clientMessageId with another draft is refused', async t => {
      const { log } = await Ground.of(engine, t)
      await log.append(OPS, says('hi', 'once'))
      await assert.rejects(log.append(OPS, says('ho', 'once')), fault('client-message-id-reused'))
      await assert.rejects(log.append(OPS, { ...says('hi', 'once'), kind: 'alert' }), fault('client-message-id-reused'))
      const reordered = { ...says(''), body: { clientMessageId: 'once', text: 'hi', type: 'text' } }
      assert.equal((await log.append(OPS, reordered)).repeated, true, 'the order of fields says nothing')
      assert.equal((await log.append(OPS, says('next'))).seq, 2)
    })

    test('all of it is there after it was closed and opened', { skip: !engine.keeps && 'keeps nothing' }, async t => {
      const ground = await Ground.of(engine, t)
      const before = await Promise.all(range(1, 120).map(n => ground.log.append(OPS, says(`${n}`, `c-${n}`))))
      for (const _ of [1, 2, 3]) {
        await ground.reopen()
        assert.deepEqual((await ground.log.read(OPS, { limit: 1_000 })).map(jsonOf), before.map(jsonOf))
      }
      assert.equal((await ground.log.append(OPS, says('7', 'c-7'))).seq, 7)
      assert.equal((await ground.log.append(OPS, says('new', 'c-new'))).seq, 121)
    })

    test('whatever is sent, repeated and interleaved: gapless, in order, once', async t => {
      const ground = await Ground.of(engine, t)
      const send = fc.record({
        to: fc.constantFrom('g:a', 'g:b', 'u:alice:bob'),
        from: fc.constantFrom('alice', 'bob'),
        id: fc.option(fc.integer({ min: 1, max: 6 }).map(String), { nil: undefined }),
        pause: fc.boolean(),
      })
      let run = 0
      const property = fc.asyncProperty(fc.array(send, { maxLength: 40 }), async sends => {
        run++
        const told: string[] = []
        const end = ground.log.follow((key, entry) => told.push(`${key} ${entry.seq}`))
        const calls: Promise<StoredEntry>[] = []
        for (const { to, from, id, pause } of sends) {
          calls.push(ground.log.append(conversation(`${to}-${run}`), says(`from ${from}: ${id}`, id, from)))
          if (pause) await calls.at(-1)
        }
        const given = await Promise.all(calls)
        end()
        assert.deepEqual(
          given.map(({ seq, repeated }) => ({ seq, repeated })),
          model(sends),
        )
        for (const to of new Set(sends.map(one => one.to))) {
          const key = conversation(`${to}-${run}`)
          const stored = seqs(await ground.log.read(key, { limit: 100 }))
          assert.deepEqual(stored, range(1, stored.length))
          assert.deepEqual(
            told.filter(line => line.startsWith(`${key} `)),
            stored.map(at => `${key} ${at}`),
          )
        }
      })
      await fc.assert(property, { numRuns: runsOf(engine, 60) })
    })

    test('followers hear each entry in order, before its sender does', async t => {
      const { log } = await Ground.of(engine, t)
      const heard: string[] = []
      const end = log.follow((key, entry) => heard.push(`heard ${key} ${entry.seq}`))
      const one = log.append(OPS, says('one')).then(entry => heard.push(`sent ${entry.seq}`))
      const two = log.append(OPS, says('two')).then(entry => heard.push(`sent ${entry.seq}`))
      await Promise.all([one, two])
      for (const nth of [1, 2])
        assert.ok(heard.indexOf(`heard im/g:ops ${nth}`) < heard.indexOf(`sent ${nth}`), heard.join())
      assert.ok(heard.indexOf('heard im/g:ops 1') < heard.indexOf('heard im/g:ops 2'))
      end()
      await log.append(OPS, says('three'))
      assert.equal(heard.length, 4)
    })

    test('a follower that throws harms nobody', async t => {
      const { log } = await Ground.of(engine, t)
      const heard: number[] = []
      log.follow(() => {
        throw new Error('broken follower')
      })
      log.follow((_, entry) => heard.push(entry.seq))
      await Promise.all([log.append(OPS, says('one')), log.append(OPS, says('two'))])
      assert.equal((await log.append(OPS, says('three'))).seq, 3)
      assert.deepEqual(heard, [1, 2, 3])
    })
  })
}

function model(sends: readonly { to: string; from: string; id: string | undefined }[]) {
  const tails = new Map<string, number>()
  const known = new Map<string, number>()
  return sends.map(({ to, from, id }) => {
    const name = JSON.stringify([to, from, id])
    const first = id === undefined ? undefined : known.get(name)
    if (first) return { seq: first, repeated: true }
    const next = (tails.get(to) ?? 0) + 1
    tails.set(to, next)
    if (id !== undefined) known.set(name, next)
    return { seq: next, repeated: false }
  })
}
