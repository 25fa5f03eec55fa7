/** Conversations: sending, the list, recall; over the one way in and memory storage. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { IM, id, people, person, world } from './support/core.ts'

test('a message to a user is in the history and the list of both', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob')

  const sent = await alice.chat('bob', 'hello')

  assert.equal(sent.conversation, 'u:alice:bob')
  assert.deepEqual(await bob.says('u:bob:alice'), ['1 alice: hello'])
  const { items } = await bob.ask('listConversations', {})
  assert.deepEqual(
    items.map(({ conversation, unread, last }) => ({ conversation, unread, text: last.text })),
    [{ conversation: 'u:alice:bob', unread: 1, text: 'hello' }],
  )
  assert.equal(await alice.unread('u:alice:bob'), 0)
})

test('a message to oneself makes a conversation with one member', async t => {
  const w = await world(t)
  const { alice } = await people(w, 'alice')

  await alice.chat('alice', 'note')

  const { items } = await alice.ask('listConversations', {})
  assert.deepEqual(
    items.map(({ conversation }) => conversation),
    ['u:alice:alice'],
  )
  const { items: memberships } = await w.core.memberships.of(IM, 'alice' as never)
  assert.deepEqual(memberships.map(({ conversation }) => conversation).sort(), ['n:alice', 'u:alice:alice'])
})

test('a message to someone who has no account is refused by both ways to send it', async t => {
  const w = await world(t)
  const { alice } = await people(w, 'alice')

  const fault = await alice.refused('no-such-user', 'sendMessageToUser', {
    user: 'ghost' as never,
    text: 'boo',
  } as never)
  assert.deepEqual(fault.details, { users: ['ghost'] })
  await alice.refused('no-such-user', 'sendMessage', { conversation: 'u:alice:ghost', text: 'boo' } as never)
})

test('a third person reads and writes nothing of a conversation of two, nor anybody the notices of another', async t => {
  const w = await world(t)
  const { alice, eve } = await people(w, 'alice', 'bob', 'eve')
  await alice.chat('bob', 'secret')

  await eve.refused('not-a-member', 'listMessages', { conversation: 'u:alice:bob' })
  await eve.refused('not-a-member', 'sendMessage', { conversation: 'u:alice:bob', text: 'me too' } as never)
  await eve.refused('not-a-member', 'listMessages', { conversation: 'n:alice' })
  await eve.refused('not-allowed', 'sendMessage', { conversation: 'n:eve', text: 'x' } as never)
  await eve.refused('not-a-member', 'sendMessage', { conversation: 'b:im', text: 'x' } as never)
})

test('a sender who asks for several at once without waiting is stored in that order', async t => {
  const w = await world(t)
  const { alice } = await people(w, 'alice', 'bob')
  await alice.ask('createGroup', { group: 'ops', name: 'Ops' })
  await alice.send('g:ops', 'first')

  const order: number[] = []
  const all = Array.from({ length: 50 }, (_, i) => {
    let enqueued = false
    const turn = { enqueued: () => (enqueued = true) }
    const sent = w.core.run('sendMessage', alice.caller, { conversation: 'g:ops', text: `${i}` }, turn)
    assert.ok(enqueued, 'the order is settled within the call')
    return sent.then(({ seq }) => order.push(seq))
  })
  await Promise.all(all)

  assert.deepEqual(
    await alice.says('g:ops').then(says => says.slice(2)),
    Array.from({ length: 50 }, (_, i) => `${i + 3} alice: ${i}`),
  )
})

test('a sender recalls within the window, an admin at any time, others never', async t => {
  const w = await world(t)
  const { alice, bob, carol } = await people(w, 'alice', 'bob', 'carol')
  await alice.ask('createGroup', { group: 'ops', name: 'Ops', members: ['bob', 'carol'] as never })
  await bob.send('g:ops', 'oops')
  await bob.send('g:ops', 'again')
  const at = (seq: number) => ({ conversation: 'g:ops', seq })

  await carol.refused('not-allowed', 'recallMessage', at(2))
  const recalled = await bob.ask('recallMessage', at(2))
  assert.equal(recalled.target, 2)
  await bob.refused('already-recalled', 'recallMessage', at(2))
  w.clock.advance(120_001)
  await bob.refused('recall-window-over', 'recallMessage', at(3))
  await alice.ask('recallMessage', at(3))

  await bob.refused('not-allowed', 'recallMessage', at(1))
  await bob.refused('no-such-entry', 'recallMessage', at(99))
  assert.deepEqual(await carol.says('g:ops'), [
    '1 alice created alice bob carol',
    '2 bob gone by recall',
    '3 bob gone by recall',
    '4 bob recall 2',
    '5 alice recall 3',
  ])
})

test('the list is newest first, its pages hold while news arrives, and empty conversations are not in it', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob')
  for (let i = 0; i < 7; i++) {
    w.clock.advance(1000)
    await alice.ask('createGroup', { group: `g${i}` as never, name: `Group ${i}`, members: ['bob'] as never })
  }
  const first = await bob.ask('listConversations', { limit: 3 })
  assert.deepEqual(
    first.items.map(({ name }) => name),
    ['Group 6', 'Group 5', 'Group 4'],
  )

  w.clock.advance(1000)
  await alice.send('g:g5', 'news')

  const second = await bob.ask('listConversations', { limit: 3, cursor: first.next })
  const third = await bob.ask('listConversations', { limit: 3, cursor: second.next })
  assert.deepEqual(
    [...second.items, ...third.items].map(({ name }) => name),
    ['Group 3', 'Group 2', 'Group 1', 'Group 0'],
  )
  assert.equal(third.next, undefined)
  const again = await bob.ask('listConversations', { limit: 1 })
  assert.equal(again.items[0]?.conversation, 'g:g5')
})

test('unread is what a reader of the whole log would count', async t => {
  const names = ['alice', 'bob', 'carol'] as const
  const step = fc.oneof(
    fc.record({ does: fc.constant('send' as const), who: fc.constantFrom(...names) }),
    fc.record({
      does: fc.constant('read' as const),
      who: fc.constantFrom(...names),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    fc.record({ does: fc.constant('rejoin' as const), who: fc.constantFrom('bob' as const, 'carol' as const) }),
    fc.record({ does: fc.constant('rename' as const) }),
    fc.record({ does: fc.constant('recall' as const) }),
  )
  const w = await world(t)
  const all = await people(w, ...names)
  let groups = 0
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async steps => {
      const group = `p${groups++}`
      const conversation = `g:${group}`
      await all.alice.ask('createGroup', { group: group as never, name: 'x', members: ['bob', 'carol'] as never })
      // The model: kinds in order, and for each the position up to which nothing is new.
      const kinds: string[] = ['members']
      const known = { alice: 1, bob: 1, carol: 1 }
      for (const one of steps) {
        if (one.does === 'send') {
          await all[one.who].send(conversation, 'x')
          known[one.who] = kinds.push('message')
        } else if (one.does === 'read') {
          const upTo = Math.floor(one.part * kinds.length)
          await all[one.who].ask('markRead', { conversation, upTo })
          known[one.who] = Math.max(known[one.who], upTo)
        } else if (one.does === 'rejoin') {
          await all.alice.ask('removeMember', { group, user: one.who } as never)
          await all.alice.ask('addMembers', { group, members: [one.who] } as never)
          kinds.push('members')
          known[one.who] = kinds.push('members')
        } else if (one.does === 'rename') {
          await all.alice.ask('updateGroup', { group, name: `n${kinds.length}` } as never)
          kinds.push('members')
        } else if (kinds.at(-1) === 'message') {
          await all.alice.ask('recallMessage', { conversation, seq: kinds.length })
          kinds.push('recall')
        }
        for (const name of names) {
          const unread = kinds.slice(known[name]).filter(kind => kind === 'message').length
          assert.equal(await all[name].unread(conversation), unread, `${name} after ${JSON.stringify(one)}`)
        }
      }
    }),
    { numRuns: 40 },
  )
})

test('what is in memory and what is stored agree after a restart', async t => {
  const w = await world(t)
  const { alice } = await people(w, 'alice', 'bob')
  await alice.ask('createGroup', { group: 'ops', name: 'Ops', members: ['bob'] as never })
  await alice.send('g:ops', 'before')

  const core = await w.restart()

  const bob = person(core, 'bob')
  assert.deepEqual(await bob.says('g:ops'), ['1 alice created alice bob', '2 alice: before'])
  assert.equal(await bob.unread('g:ops'), 1)
  assert.deepEqual(await core.memberships.get(IM, 'bob' as never, id('g:ops')), { conversation: 'g:ops', joinedSeq: 1 })
  await core[Symbol.asyncDispose]()
})
