/** Membership is enforced at delivery: who is removed gets nothing from the next entry on, whatever they hold. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { entryOf, type Person } from './support/person.ts'
import { TestServer } from './support/server.ts'

const say = async (from: Person, text: string) => {
  const { status } = await from.api('POST', '/conversations/g:ops/messages', { text })
  assert.equal(status, 201)
}

for (const version of [4, 5] as const) {
  for (const filter of ['im/u/bob/inbox', 'im/g/ops/message', '#', 'im/g/+/message']) {
    test(`a removed member with a live connection and ${filter} gets nothing more, and rejoined what follows (${version})`, async t => {
      const server = await TestServer.start(t)
      const { alice, bob } = await server.people('alice', 'bob')
      await alice.group('ops', bob)
      const phone = await bob.connect(version)
      assert.deepEqual(await phone.subscribe(filter), [1])
      await say(alice, 'before')
      assert.equal(entryOf(await phone.next('publish')).text, 'before')

      assert.equal((await alice.api('DELETE', '/groups/ops/members/bob')).status, 204)
      await say(alice, 'secret')
      assert.equal((await bob.api('GET', '/conversations/g:ops/messages')).status, 403)
      assert.equal((await alice.api('POST', '/groups/ops/members', { members: ['bob'] })).status, 200)
      await say(alice, 'after')

      const heard = []
      do heard.push(entryOf(await phone.next('publish')))
      while (heard.at(-1)?.text !== 'after')
      const ofGroup = heard.filter(({ conversation }) => conversation === 'g:ops')
      assert.deepEqual(
        ofGroup.map(({ kind, text, reason }) => text ?? reason ?? kind),
        ['not-a-member', 'members', 'after'],
      )
      if (filter === 'im/u/bob/inbox') {
        const notice =
          heard.find(({ conversation }) => conversation === 'n:bob') ?? entryOf(await phone.next('publish'))
        assert.deepEqual([notice.conversation, notice.action, notice.about], ['n:bob', 'removed', 'g:ops'])
      }
    })
  }

  test(`what waits for a member who is away is not sent once they are removed (${version})`, async t => {
    const server = await TestServer.start(t)
    const { alice, bob } = await server.people('alice', 'bob')
    await alice.group('ops', bob)
    const phone = await bob.connect(version)
    phone.wire.acknowledges = false
    await phone.subscribe(bob.inbox)
    await say(alice, 'in flight')
    await phone.next('publish')
    await phone.cut()
    await say(alice, 'waiting')
    assert.equal((await alice.api('DELETE', '/groups/ops/members/bob')).status, 204)
    const back = await bob.connect(version)
    const first = await back.next('publish')
    assert.equal(entryOf(first).conversation, 'n:bob')
    await alice.api('POST', '/users/bob/messages', { text: 'sorry' })
    assert.equal(entryOf(await back.next('publish')).text, 'sorry')
  })
}
