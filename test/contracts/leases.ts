/** Contract of the leases, over every adapter. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Cluster, NodeChange } from '../../core/ports.ts'
import { until } from '../support/redis.ts'
import { type ClusterEngine, nodes } from './cluster.ts'
import { range } from './ground.ts'

const settled = (...all: Cluster[]) => Promise.all(all.map(({ leases }) => leases.settled()))

export function leasesContract(engine: ClusterEngine): void {
  suite(`leases: ${engine.name}`, { skip: engine.skip }, () => {
    test('what a node holds is known to every node until it is released', async t => {
      const [a, b] = await nodes(engine, t, 'a', 'b')
      const release = a.leases.hold('s:im/alice/phone', 'mqtt', 7)
      await settled(a)
      const held = [{ node: 'a', value: 'mqtt', rank: 7 }]
      assert.deepEqual(await b.leases.get(['s:im/alice/phone', 's:im/bob/phone']), [held, []])
      assert.deepEqual(await a.leases.get(['s:im/alice/phone']), [held])
      assert.deepEqual(await a.leases.get([]), [])
      release()
      release()
      await settled(a)
      assert.deepEqual(await b.leases.get(['s:im/alice/phone']), [[]])
    })

    test('of many holders the highest rank stands first, whoever came last', async t => {
      const [a, b] = await nodes(engine, t, 'a', 'b')
      const newer = a.leases.hold('s', 'new', 9)
      await settled(a)
      b.leases.hold('s', 'old', 8)
      await settled(b)
      const [both] = (await b.leases.get(['s'])) ?? []
      assert.deepEqual(
        both?.map(({ node, value }) => [node, value]),
        [
          ['a', 'new'],
          ['b', 'old'],
        ],
      )
      newer()
      await settled(a)
      assert.deepEqual(await a.leases.get(['s']), [[{ node: 'b', value: 'old', rank: 8 }]])
    })

    test('of several holds of one node the highest rank is seen, and the key goes with the last', async t => {
      const [a, b] = await nodes(engine, t, 'a', 'b')
      const seen = async () => {
        await settled(a)
        const [holdings = []] = (await b.leases.get(['k'])) ?? []
        return holdings.map(({ value }) => value)
      }
      const old = a.leases.hold('k', 'of 5', 5)
      const late = a.leases.hold('k', 'of 4', 4)
      assert.deepEqual(await seen(), ['of 5'])
      const taken = a.leases.hold('k', 'of 6', 6)
      old()
      assert.deepEqual(await seen(), ['of 6'])
      taken()
      assert.deepEqual(await seen(), ['of 4'])
      late()
      assert.deepEqual(await seen(), [])
    })

    test('a node that leaves holds nothing any more, and those that stay are told', async t => {
      const { join } = await engine.make(t)
      const a = await join('a')
      t.after(() => a[Symbol.asyncDispose]())
      const changes: NodeChange[] = []
      a.leases.onNodes(change => changes.push(change))
      const b = await join('b')
      for (const n of range(1, 1_200)) b.leases.hold(`u:${n}`, '')
      await settled(b)
      const keys = range(1, 1_200).map(n => `u:${n}`)
      const online = async () => ((await a.leases.get(keys)) ?? []).filter(holdings => holdings.length > 0).length
      assert.equal(await online(), 1_200)
      assert.deepEqual(await a.leases.nodes(), ['a', 'b'])
      await until(() => changes.some(({ came }) => came.includes('b')), 'b came')
      await b[Symbol.asyncDispose]()
      assert.equal(await online(), 0)
      assert.deepEqual(await a.leases.nodes(), ['a'])
      await until(() => changes.some(({ gone }) => gone.includes('b')), 'b is gone')
      assert.ok(changes.every(({ came, gone }) => !came.includes('a') && !gone.includes('a')))
    })

    test('two runs under one name are told apart: what the one held goes with it', async t => {
      const { join } = await engine.make(t)
      const [a, before] = [await join('a'), await join('b')]
      before.leases.hold('k', 'before')
      await settled(before)
      const after = await join('b')
      for (const node of [a, after]) t.after(() => node[Symbol.asyncDispose]())
      await before[Symbol.asyncDispose]()
      assert.deepEqual(await a.leases.get(['k']), [[]])
      after.leases.hold('k', 'after')
      await settled(after)
      assert.deepEqual(await a.leases.get(['k']), [[{ node: 'b', value: 'after', rank: 0 }]])
      assert.deepEqual(await a.leases.nodes(), ['a', 'b'])
    })
  })
}
