/** Contract of the bus, over every adapter. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Cluster } from '../../core/ports.ts'
import { until } from '../support/redis.ts'
import { type ClusterEngine, hear, nodes, text } from './cluster.ts'
import { range } from './ground.ts'

export function busContract(engine: ClusterEngine): void {
  suite(`bus: ${engine.name}`, { skip: engine.skip }, () => {
    test('a message comes to every other node that listens, and never back', async t => {
      const [a, b, c] = await nodes(engine, t, 'a', 'b', 'c')
      const [own, there, also] = [hear(a.bus, 'g:ops'), hear(b.bus, 'g:ops'), hear(c.bus, 'g:ops')]
      await Promise.all([a, b, c].map(node => node.bus.settled()))
      a.bus.publish('g:ops', text('hello'))
      a.bus.publish('g:other', text('nobody listens'))
      assert.deepEqual(await there.until(1), ['hello'])
      assert.deepEqual(await also.until(1), ['hello'])
      b.bus.publish('g:ops', text('answer'))
      assert.deepEqual(await own.until(1), ['answer'])
      assert.deepEqual(await also.until(2), ['hello', 'answer'])
      assert.deepEqual(there.heard, ['hello'])
      assert.ok([a, b, c].every(node => node.bus.healthy && node.bus.dropped === 0))
    })

    test('messages of one publisher come in order, whatever is in them', async t => {
      const [a, b] = await nodes(engine, t, 'a', 'b')
      const [one, two] = [hear(b.bus, 'one'), hear(b.bus, '二 two\r\n')]
      const raw: Buffer[] = []
      b.bus.subscribe('raw', message => raw.push(message))
      await b.bus.settled()
      a.bus.publish('raw', Buffer.from([0, 255, 13, 10]))
      a.bus.publish('raw', new Uint8Array(0))
      for (const n of range(1, 3_000)) {
        a.bus.publish('one', text(n))
        if (n % 3 === 0) a.bus.publish('二 two\r\n', text(n))
        if (n % 100 === 0) await new Promise(resolve => setImmediate(resolve))
      }
      assert.deepEqual(await one.until(3_000), range(1, 3_000).map(String))
      assert.deepEqual(
        await two.until(1_000),
        range(1, 1_000).map(n => `${n * 3}`),
      )
      assert.deepEqual(raw, [Buffer.from([0, 255, 13, 10]), Buffer.alloc(0)])
    })

    test('listeners of one channel do not disturb each other', async t => {
      const [a, b] = await nodes(engine, t, 'a', 'b')
      const [one, two, three] = [hear(b.bus, 'x'), hear(b.bus, 'x'), hear(b.bus, 'x')]
      await b.bus.settled()
      one.end()
      one.end()
      a.bus.publish('x', text(1))
      await Promise.all([two.until(1), three.until(1)])
      two.end()
      await b.bus.settled()
      a.bus.publish('x', text(2))
      await three.until(2)
      three.end()
      // Given up and taken up in one turn.
      const again = hear(b.bus, 'x')
      await b.bus.settled()
      a.bus.publish('x', text(3))
      assert.deepEqual(await again.until(1), ['3'])
      assert.deepEqual([one.heard, two.heard, three.heard], [[], ['1'], ['1', '2']])
    })

    test('a channel that was given up is silent, and can be taken up again', async t => {
      const [a, b] = await nodes(engine, t, 'a', 'b')
      const [first, mark] = [hear(b.bus, 'x'), hear(b.bus, 'mark')]
      first.end()
      await b.bus.settled()
      a.bus.publish('x', text('silent'))
      a.bus.publish('mark', text(1))
      await mark.until(1)
      const second = hear(b.bus, 'x')
      await b.bus.settled()
      a.bus.publish('x', text('heard'))
      assert.deepEqual(await second.until(1), ['heard'])
      assert.deepEqual(first.heard, [])
    })

    test('ten thousand channels are listened to at once', async t => {
      const [a, b] = await nodes(engine, t, 'a', 'b')
      const all = range(1, 10_000).map(n => hear(b.bus, `g:${n}`))
      await b.bus.settled()
      for (const n of range(1, 10_000)) a.bus.publish(`g:${n}`, text(n))
      for (const [i, { until }] of all.entries()) assert.deepEqual(await until(1), [`${i + 1}`])
      for (const { end } of all) end()
      await b.bus.settled()
      assert.equal(a.bus.dropped, 0)
    })

    test('what is sent and what comes is counted', async t => {
      const [a, b] = await nodes(engine, t, 'a', 'b')
      const [one, also] = [hear(b.bus, 'x'), hear(b.bus, 'x')]
      await b.bus.settled()
      for (const n of range(1, 5)) a.bus.publish('x', text(n))
      a.bus.publish('nobody listens', text(6))
      await Promise.all([one.until(5), also.until(5)])
      await until(() => a.bus.sent === 6, 'all six are sent')
      assert.deepEqual([a.bus.received, b.bus.sent, b.bus.received], [0, 0, 5])
    })

    test('every other node that lives is a peer, and is heard of', async t => {
      const { join } = await engine.make(t)
      const [a, b] = [await join('a'), await join('b')]
      for (const node of [a, b]) t.after(() => node[Symbol.asyncDispose]())
      const peers = ({ bus }: Cluster) => bus.peers().map(({ node }) => node)
      await until(() => peers(a).includes('b') && peers(b).includes('a'), 'they know each other')
      assert.deepEqual([peers(a), peers(b)], [['b'], ['a']])
      // Silence that grew ends with the next heartbeat.
      const silence = () => a.bus.peers()[0]?.silentMs ?? Number.POSITIVE_INFINITY
      let longest = 0
      const isShorter = () => {
        const now = silence()
        longest = Math.max(longest, now)
        return now < longest || longest === 0
      }
      await until(isShorter, 'b is heard')
      await b[Symbol.asyncDispose]()
      await until(() => peers(a).length === 0, 'b is no peer any more')
    })

    test('nobody is told of missed messages as long as none are', async t => {
      const [a, b] = await nodes(engine, t, 'a', 'b')
      let told = 0
      for (const { bus } of [a, b]) bus.onMissed(() => told++)
      const x = hear(b.bus, 'x')
      await b.bus.settled()
      a.bus.publish('x', text(1))
      await x.until(1)
      assert.equal(told, 0)
    })
  })
}
