/** Changes of groups that meet each other, fail half-way, lose their answer or are many: nothing of them is half done. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Fault } from '../protocol/faults.ts'
import type { GroupId, Member, UserId } from '../protocol/ids.ts'
import { type Asking, brief, IM, id, people, person, type World, world } from './support/core.ts'
import { add, group, ops, put, roles, users } from './support/groups.ts'

test('no message of a removed member stands above the removal, not even one sent while it is being stored', async t => {
  const late: Promise<string>[] = []
  let bob: Asking | undefined
  const w = await world(t, {
    enqueued(key, { body }) {
      if (key === 'im/g:ops' && body.action === 'removed' && bob)
        late.push(bob.send('g:ops', 'late').then(String, Fault.from).then(String))
    },
  })
  const all = await people(w, 'alice', 'bob')
  bob = all.bob
  await group(all.alice, ['bob'])
  await bob.send('g:ops', 'in time')

  await put(all.alice, 'bob')

  assert.deepEqual(await Promise.all(late), [String(new Fault('not-a-member'))])
  assert.deepEqual((await all.alice.says('g:ops')).slice(1), ['2 bob: in time', '3 alice removed bob'])
})

test('two nodes that hand a group on at once leave one owner', async t => {
  const w = await world(t)
  const { alice } = await people(w, 'alice', 'bob', 'carol')
  await group(alice, ['bob', 'carol'])
  const other = await w.restart()
  const hand = (by: Asking, user: string) => by.ask('updateMember', { group: ops, user: user as UserId, role: 'owner' })
  const both = await Promise.allSettled([hand(alice, 'bob'), hand(person(other, 'alice'), 'carol')])

  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  for (const core of [w.core, other])
    assert.equal(Object.values(await roles(person(core, 'alice'))).filter(role => role === 'owner').length, 1)
  await other[Symbol.asyncDispose]()
})

test('a removal that could not be stored leaves the member in', async t => {
  let fail = false
  const w = await world(t, { fails: () => fail })
  const { alice, bob } = await people(w, 'alice', 'bob')
  await group(alice, ['bob'])

  fail = true
  await alice.refused('log-unavailable', 'removeMember', { group: ops, user: 'bob' as UserId })
  fail = false

  await bob.send('g:ops', 'still in')
  assert.deepEqual(await roles(alice), { alice: 'owner', bob: 'member' })
})

test('notices that could not be sent with a removal are sent after a restart, once', async t => {
  let fail = false
  const w = await world(t, { fails: key => fail && key.includes('/n:') })
  const { alice } = await people(w, 'alice', 'bob')
  await group(alice, ['bob'])
  fail = true
  await put(alice, 'bob')
  fail = false

  const core = await w.restart()
  await (await w.restart())[Symbol.asyncDispose]()

  const { items } = await person(core, 'bob').ask('listMessages', { conversation: 'n:bob' })
  assert.deepEqual(
    items.map(item => brief(item)),
    ['1 alice removed bob'],
  )
  await core[Symbol.asyncDispose]()
})

test('a notice whose answer was lost is not there twice', async t => {
  let lose = true
  const w = await world(t, { loses: key => lose && key.includes('/n:') })
  const { alice, bob } = await people(w, 'alice', 'bob')
  await group(alice, ['bob'])
  await put(alice, 'bob')
  lose = false

  await (await w.restart())[Symbol.asyncDispose]()

  assert.deepEqual(await bob.says('n:bob'), ['1 alice removed bob'])
})

test('a removal whose answer was lost but which is stored is told by its notice all the same', async t => {
  let lose = false
  const w = await world(t, { loses: () => lose })
  const { alice, bob } = await people(w, 'alice', 'bob')
  await group(alice, ['bob'])
  lose = true
  await alice.refused('log-unavailable', 'removeMember', { group: ops, user: 'bob' as UserId })
  lose = false
  await bob.refused('not-a-member', 'sendMessage', { conversation: 'g:ops', text: 'x' } as never)

  const told = new Promise<void>(resolve => w.storage.log.follow(key => key.includes('/n:bob') && resolve()))
  w.clock.advance(2_000)
  await told

  assert.deepEqual(await bob.says('n:bob'), ['1 alice removed bob'])
})

test('a group of 10,000 is filled, loaded once, and takes no more', async t => {
  let scans = 0
  const w = await world(t, { scanned: name => void (name === 'members' && scans++) })
  const { alice } = await people(w, 'alice', 'late')
  const crowd = Array.from({ length: 9_999 }, (_, i) => `m${i}`)
  // Accounts as the table of accounts has them; ten thousand registrations would be the whole of this test.
  const rows = crowd.map(key => ({
    table: { name: 'users' } as never,
    partition: IM,
    key,
    row: { name: key, createdAt: 0 },
  }))
  await w.storage.records.write(rows)
  await group(alice)
  for (let at = 0; at < crowd.length; at += 1000) await add(alice, ...crowd.slice(at, at + 1000))

  await alice.refused('group-full', 'addMembers', { group: ops, members: users('late') })
  const core = await w.restart()
  scans = 0
  const askers = crowd.slice(0, 50).map(name => person(core, name))
  await Promise.all(askers.map(one => one.send('g:ops', 'hi')))

  assert.equal(scans, 11)
  assert.equal((await person(core, 'm1').ask('getGroup', { group: ops })).memberCount, 10_000)
  await core[Symbol.asyncDispose]()
})

test('whatever members do at once, there is one owner, and memory, rows and entries agree', async t => {
  const w = await world(t)
  const names = ['alice', 'bob', 'carol', 'dave'] as const
  const all = await people(w, ...names)
  const who = fc.constantFrom(...names)
  const step = fc.oneof(
    fc.record({ does: fc.constant('add' as const), by: who, user: who }),
    fc.record({ does: fc.constant('remove' as const), by: who, user: who }),
    fc.record({
      does: fc.constant('role' as const),
      by: who,
      user: who,
      role: fc.constantFrom('owner' as const, 'admin' as const, 'member' as const),
    }),
    fc.record({ does: fc.constant('send' as const), by: who, user: who }),
  )
  let round = 0
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(step, { maxLength: 6 }), { maxLength: 5 }), async bursts => {
      const group = `q${round++}` as GroupId
      const conversation = id(`g:${group}`)
      await all.alice.ask('createGroup', { group, name: 'q', members: users('bob', 'carol'), join: 'open' })
      for (const burst of bursts) {
        const results = await Promise.allSettled(burst.map(one => ask(all[one.by], group, one)))
        for (const result of results)
          if (result.status === 'rejected')
            assert.match((result.reason as Fault).code, /^(not-allowed|not-a-member|owner-must-stay|already-a-member)$/)
        await agree(w, group, conversation)
      }
    }),
    { numRuns: 60 },
  )
})

type Step =
  | { does: 'add' | 'remove' | 'send'; user: string }
  | { does: 'role'; user: string; role: 'owner' | 'admin' | 'member' }
function ask(by: Asking, group: GroupId, step: Step): Promise<unknown> {
  const user = step.user as UserId
  if (step.does === 'add') return by.ask('addMembers', { group, members: [user] })
  if (step.does === 'remove') return by.ask('removeMember', { group, user })
  if (step.does === 'role') return by.ask('updateMember', { group, user, role: step.role })
  return by.send(`g:${group}`, 'x')
}

/** Rows as stored, as in memory, and as a reader of all entries would have them. */
async function agree(w: World, group: GroupId, conversation: ReturnType<typeof id>): Promise<void> {
  const fresh = await w.restart()
  const key = `im/${conversation}` as never
  const entries = await w.storage.log.read(key, { limit: 1000 })
  const model = new Map<string, number>()
  for (const { entry, seq } of entries) {
    if (entry.kind === 'message') assert.ok(model.has(entry.from), `${entry.from} wrote at ${seq} without being in`)
    const { action, users = [] } = entry
    for (const user of users) {
      if (action === 'created' || action === 'added' || action === 'joined') model.set(user, seq)
      if (action === 'left' || action === 'removed') model.delete(user)
    }
  }
  for (const core of [w.core, fresh]) {
    for (const member of ['alice', 'bob', 'carol', 'dave'] as Member[]) {
      const place = await core.memberships.get(IM, member, conversation)
      assert.equal(place?.joinedSeq, model.get(member))
    }
    const [someone] = model.keys()
    const asking = person(core, someone as string)
    const { items } = await asking.ask('listMembers', { group })
    const { owner, memberCount } = await asking.ask('getGroup', { group })
    assert.deepEqual(
      items.filter(({ role }) => role === 'owner').map(({ user }) => user),
      [owner],
    )
    assert.equal(memberCount, model.size)
  }
  await fresh[Symbol.asyncDispose]()
}
