/** Groups: who is in, who decides, and what each sees; over the one way in and memory storage. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fault } from '../protocol/faults.ts'
import type { UserId } from '../protocol/ids.ts'
import { type Asking, brief, people, world } from './support/core.ts'
import { add, group, ops, put, roles, users } from './support/groups.ts'

test('a group of one is made with an empty list of members too', async t => {
  const { alice } = await people(await world(t), 'alice')
  const { memberCount } = await alice.ask('createGroup', { group: ops, name: 'Ops', members: [] })
  assert.equal(memberCount, 1)
})

test('whoever makes a group owns it, and all whom it names are in from its first entry', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob', 'carol')

  const made = await group(alice, ['carol', 'bob', 'alice'])

  assert.deepEqual(
    { ...made, createdAt: 0 },
    {
      group: 'ops',
      conversation: 'g:ops',
      name: 'Ops',
      owner: 'alice',
      join: 'invite',
      history: 'joined',
      memberCount: 3,
      createdAt: 0,
    },
  )
  assert.deepEqual(await roles(bob), { alice: 'owner', bob: 'member', carol: 'member' })
  assert.deepEqual(await bob.says('g:ops'), ['1 alice created alice carol bob'])
  const unnamed = await alice.ask('createGroup', { name: 'No id' })
  assert.match(unnamed.group, /^[0-9a-f]{20}$/)
})

test('the id of a group is not given again, nor after the group is dismissed', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob')
  const both = await Promise.allSettled([group(alice), group(bob)])
  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  const lost = both.find(result => result.status === 'rejected')
  assert.equal(Fault.from(lost?.reason).code, 'id-taken')

  const owner = both[0]?.status === 'fulfilled' ? alice : bob
  await owner.ask('dismissGroup', { group: ops })
  await owner.refused('id-taken', 'createGroup', { group: ops, name: 'Ops' })
})

test('a request that names an unknown user changes nothing and says who', async t => {
  const w = await world(t)
  const { alice } = await people(w, 'alice', 'bob')
  await alice.refused('no-such-user', 'createGroup', { group: ops, name: 'Ops', members: users('bob', 'ghost') })
  await group(alice)

  const fault = await alice.refused('no-such-user', 'addMembers', { group: ops, members: users('bob', 'ghost') })

  assert.deepEqual(fault.details, { users: ['ghost'] })
  assert.deepEqual(await roles(alice), { alice: 'owner' })
})

test('who may add is said by the join rule', async t => {
  const w = await world(t)
  const names = ['alice', 'bob', 'carol', 'dave', 'eve'] as const
  const all = await people(w, ...names)
  const refused = (by: Asking, name: string) =>
    by.refused('not-allowed', 'addMembers', { group: ops, members: users(name) })
  await group(all.alice, ['bob'])

  await refused(all.bob, 'carol')
  await refused(all.carol, 'carol')
  await all.alice.ask('updateGroup', { group: ops, join: 'members' })
  await add(all.bob, 'carol')
  await refused(all.dave, 'dave')
  await all.alice.ask('updateGroup', { group: ops, join: 'open' })
  await add(all.dave, 'dave')
  await refused(all.eve, 'bob')
  await all.alice.refused('already-a-member', 'addMembers', { group: ops, members: users('bob', 'dave') })
  const { memberCount } = await add(all.alice, 'bob', 'eve')

  assert.equal(memberCount, 5)
  const says = await all.alice.says('g:ops')
  assert.deepEqual(says.slice(2), ['3 bob added carol', '4 alice settings', '5 dave joined dave', '6 alice added eve'])
})

test('a new member sees what was said since, or all where the group says so', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob')
  await group(alice)
  for (const text of ['one', 'two']) await alice.send('g:ops', text)
  await add(alice, 'bob')
  await alice.send('g:ops', 'three')

  assert.deepEqual(await bob.says('g:ops'), ['4 alice added bob', '5 alice: three'])
  assert.equal(await bob.unread('g:ops'), 1)
  const asked = async (query: object) =>
    (await bob.ask('listMessages', { conversation: 'g:ops', ...query })).items.map(item => brief(item))
  assert.deepEqual(await asked({ after: 0 }), ['gap 1-3', '4 alice added bob', '5 alice: three'])
  assert.deepEqual(await asked({ after: 1, before: 3 }), ['gap 2-2'])
  assert.deepEqual(await asked({ before: 4 }), [])
  await bob.refused('no-such-entry', 'recallMessage', { conversation: 'g:ops', seq: 2 })
  await bob.refused('no-such-entry', 'getReceipts', { conversation: 'g:ops', seq: 2 })

  await alice.ask('updateGroup', { group: ops, history: 'all' })
  assert.deepEqual((await bob.says('g:ops')).slice(0, 3), ['1 alice created alice', '2 alice: one', '3 alice: two'])
})

test('someone who is put out neither reads nor writes from then on, and learns of it by a notice', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob')
  await group(alice, ['bob'])
  const changes: unknown[] = []
  w.core.memberships.follow(({ conversation, seq, joined, left }) => changes.push([conversation, seq, joined, left]))

  await put(alice, 'bob')

  await bob.refused('not-a-member', 'sendMessage', { conversation: 'g:ops', text: 'still here' } as never)
  await bob.refused('not-a-member', 'listMessages', { conversation: 'g:ops' })
  const { items } = await bob.ask('listMessages', { conversation: 'n:bob' })
  const [notice] = items as Record<string, unknown>[]
  assert.deepEqual([notice?.action, notice?.about, notice?.by, notice?.users], ['removed', 'g:ops', 'alice', ['bob']])
  assert.deepEqual(
    (await bob.ask('listConversations', {})).items.map(({ conversation }) => conversation),
    ['n:bob'],
  )
  assert.deepEqual(changes, [['g:ops', 2, [], ['bob']]])

  await alice.send('g:ops', 'without bob')
  await add(alice, 'bob')
  assert.deepEqual(await bob.says('g:ops'), ['4 alice added bob'])
  assert.equal(await bob.unread('g:ops'), 0)
})

test('leaving makes no notice, and the owner leaves only after naming the next', async t => {
  const w = await world(t)
  const { alice, bob, carol } = await people(w, 'alice', 'bob', 'carol')
  await group(alice, ['bob', 'carol'])

  await put(carol, 'carol')
  await alice.refused('owner-must-stay', 'removeMember', { group: ops, user: 'alice' as UserId })
  await alice.ask('updateMember', { group: ops, user: 'bob' as UserId, role: 'owner' })
  await put(alice, 'alice')

  assert.equal((await carol.ask('listMessages', { conversation: 'n:carol' })).items.length, 0)
  assert.deepEqual(await roles(bob), { bob: 'owner' })
  assert.equal((await bob.ask('getGroup', { group: ops })).owner, 'bob')
})

test('owner, admins and members may do what their role allows', async t => {
  const w = await world(t)
  const all = await people(w, 'alice', 'bob', 'carol', 'dave')
  await group(all.alice, ['bob', 'carol', 'dave'])
  const role = (user: string, role: 'owner' | 'admin' | 'member') =>
    ['updateMember', { group: ops, user: user as UserId, role }] as const
  await all.alice.ask(...role('bob', 'admin'))
  await all.alice.ask(...role('carol', 'admin'))
  const mute = (user: string) =>
    ['updateMember', { group: ops, user: user as UserId, mutedUntil: w.clock.now() + 1 }] as const
  const out = (user: string) => ['removeMember', { group: ops, user: user as UserId }] as const

  // biome-ignore format: a table, a row a line
  for (const [by, operation, input] of [
    [all.bob, ...role('dave', 'admin')], [all.bob, ...role('bob', 'owner')], [all.alice, ...role('alice', 'member')],
    [all.bob, ...mute('carol')], [all.bob, ...mute('alice')], [all.dave, ...mute('carol')], [all.alice, ...mute('alice')],
    [all.bob, ...out('carol')], [all.bob, ...out('alice')], [all.dave, ...out('carol')],
  ] as const) await by.refused('not-allowed', operation as 'updateMember', input)
  await all.dave.refused('not-allowed', 'updateGroup', { group: ops, name: 'Mine' })
  await all.bob.refused('not-allowed', 'dismissGroup', { group: ops })
  await all.alice.ask(...mute('bob'))
  await all.bob.ask('updateGroup', { group: ops, name: 'Operations', about: 'We operate' })
  await all.bob.ask(...out('dave'))

  const shown = await all.bob.ask('getGroup', { group: ops })
  assert.deepEqual([shown.name, shown.about, shown.memberCount], ['Operations', 'We operate', 3])
  assert.equal('about' in (await all.bob.ask('updateGroup', { group: ops, about: null })), false)
})

test('a muted member may not write until the time is over', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob')
  await group(alice, ['bob'])
  const until = w.clock.now() + 5000
  await alice.ask('updateMember', { group: ops, user: 'bob' as UserId, mutedUntil: until })

  const fault = await bob.refused('muted', 'sendMessage', { conversation: 'g:ops', text: 'x' } as never)
  assert.deepEqual(fault.details, { mutedUntil: until })
  w.clock.advance(5000)
  await bob.send('g:ops', 'at last')
  await alice.ask('updateMember', { group: ops, user: 'bob' as UserId, mutedUntil: w.clock.now() + 5000 })
  const member = await alice.ask('updateMember', { group: ops, user: 'bob' as UserId, mutedUntil: null })
  assert.equal('mutedUntil' in member, false)
  await bob.send('g:ops', 'again')
})

test('a dismissed group is gone for all, who are told, and takes nothing more', async t => {
  const w = await world(t)
  const { alice, bob } = await people(w, 'alice', 'bob', 'carol')
  await group(alice, ['bob', 'carol'])

  await alice.ask('dismissGroup', { group: ops })

  for (const one of [alice, bob]) {
    await one.refused('no-such-group', 'getGroup', { group: ops })
    await one.refused('not-a-member', 'listMessages', { conversation: 'g:ops' })
    await one.refused('not-a-member', 'sendMessage', { conversation: 'g:ops', text: 'x' } as never)
    const { items } = await one.ask('listConversations', {})
    assert.deepEqual(
      items.map(({ last }) => [last.action, last.about]),
      [['dismissed', 'g:ops']],
    )
  }
  await alice.refused('no-such-group', 'addMembers', { group: ops, members: users('bob') })
})
