/** History: pages both ways, by time and by sender, and what has expired in it; over the one way in and memory storage. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { brief, people, world } from './support/core.ts'

test('history is paged both ways, and a page that ends has no next', async t => {
  const w = await world(t)
  const { alice } = await people(w, 'alice', 'bob')
  for (let i = 1; i <= 10; i++) await alice.chat('bob', `${i}`)
  const page = async (query: object) => {
    const { items, next } = await alice.ask('listMessages', { conversation: 'u:alice:bob', ...query })
    return { seqs: items.map(item => (item as { seq: number }).seq), next }
  }
  const seqs = async (query: object) => (await page(query)).seqs

  assert.deepEqual(await seqs({ limit: 3 }), [8, 9, 10])
  assert.deepEqual(await seqs({ limit: 3, before: 8 }), [5, 6, 7])
  assert.deepEqual(await seqs({ limit: 3, after: 0 }), [1, 2, 3])
  assert.deepEqual(await seqs({ after: 3, before: 6 }), [4, 5])
  assert.deepEqual(await seqs({ after: 10 }), [])
  assert.deepEqual(await seqs({ after: 5, before: 5 }), [])
  for (const [query, pages] of [
    [
      { limit: 4, after: 0 },
      [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, 10],
      ],
    ],
    [
      { limit: 4 },
      [
        [7, 8, 9, 10],
        [3, 4, 5, 6],
        [1, 2],
      ],
    ],
    [
      { limit: 5 },
      [
        [6, 7, 8, 9, 10],
        [1, 2, 3, 4, 5],
      ],
    ],
  ] as const) {
    const got: unknown[] = []
    for (
      let at: { seqs: unknown[]; next?: string | undefined } = await page(query);
      ;
      at = await page({ cursor: at.next, limit: query.limit })
    ) {
      got.push(at.seqs)
      if (at.next === undefined) break
    }
    assert.deepEqual(got, pages)
  }
  await alice.refused('malformed', 'listMessages', { conversation: 'u:alice:bob', cursor: 'nonsense' })
  await alice.refused('malformed', 'listMessages', { conversation: 'u:alice:bob', limit: 501 })
})

test('history is found by time and by sender, over more pages than one look takes', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob')
  const start = w.clock.now()
  await bob.chat('alice', 'early')
  for (let i = 0; i < 20; i++) {
    w.clock.advance(1000)
    await alice.chat('bob', `${i}`)
  }
  w.clock.advance(1000)
  await bob.chat('alice', 'late')
  const says = async (query: object) =>
    (await alice.ask('listMessages', { conversation: 'u:alice:bob', ...query })).items.map(item => brief(item))

  assert.deepEqual(await says({ from: 'bob' }), ['1 bob: early', '22 bob: late'])
  assert.deepEqual(await says({ from: 'bob', limit: 1 }), ['22 bob: late'])
  assert.deepEqual(await says({ from: 'bob', limit: 1, after: 0 }), ['1 bob: early'])
  assert.deepEqual(await says({ since: start + 20_000 }), ['21 alice: 19', '22 bob: late'])
  assert.deepEqual(await says({ until: new Date(start + 2000).toISOString() }), ['1 bob: early', '2 alice: 0'])
})

test('a message past its expiry leaves its place and not its body', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob')
  await alice.refused('malformed', 'sendMessageToUser', { user: 'bob', text: 'x', expiresAt: w.clock.now() } as never)
  await alice.ask('sendMessageToUser', { user: 'bob', text: 'soon gone', expiresAt: w.clock.now() + 1000 } as never)
  assert.deepEqual(await bob.says('u:alice:bob'), ['1 alice: soon gone'])

  w.clock.advance(1000)

  const { items } = await bob.ask('listMessages', { conversation: 'u:alice:bob' })
  assert.deepEqual(
    items.map(item => brief(item)),
    ['1 alice gone by expired'],
  )
  assert.ok(!JSON.stringify(items).includes('soon gone'))
  const { items: list } = await bob.ask('listConversations', {})
  assert.equal(list[0]?.last.retracted, 'expired')
})
