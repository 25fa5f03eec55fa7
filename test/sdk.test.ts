/** Plays of people who talk through the SDK, on a real server. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { group, memoryStore } from '../sdk/client.ts'
import { Person, people, startServer } from './harness.ts'

for (const over of ['websocket', 'tcp'] as const)
  test(`a message is stored, and both sides hear of it under the same number (${over})`, async t => {
    const { alice, bob } = await people(t, over === 'tcp' ? { over } : {}, 'alice', 'bob')
    const entry = await alice.chat(bob).send('see you at six')
    const { seq, id, sentAt } = entry
    assert.equal(entry.text, 'see you at six')
    await alice.hears({ kind: 'message', seq, id, from: 'alice' })
    const heard = await bob.hears({ kind: 'message', seq, id, sentAt, from: 'alice', text: 'see you at six' })
    assert.equal(heard.conversation, 'u:alice:bob')
  })

test('a message sent while bob is away waits for him, and his reading of it is told', async t => {
  const { alice, bob } = await people(t, 'alice', 'bob')
  await bob.goesOffline()
  const { seq } = await alice.chat(bob).send({ text: 'see you at six' })
  await bob.comesBack()
  await bob.hears({ kind: 'message', seq, text: 'see you at six' })
  const { items } = await bob.client.conversations()
  assert.deepEqual([items[0]?.conversation, items[0]?.unread], ['u:alice:bob', 1])
  await bob.chat(alice).read(seq)
  await alice.hears({ kind: 'receipt', user: 'bob', readUpTo: seq })
  assert.equal((await bob.chat(alice).info()).unread, 0)
})

test('what is sent while offline goes out on the return, in order', async t => {
  const { alice, bob } = await people(t, 'alice', 'bob')
  await alice.goesOffline()
  const outcomes = ['one', 'two', 'three'].map(text => alice.chat(bob).send(text))
  await alice.comesBack()
  assert.deepEqual(
    (await Promise.all(outcomes)).map(({ seq }) => seq),
    [1, 2, 3],
  )
  await bob.hears({ text: 'three' })
  assert.deepEqual(bob.texts('u:alice:bob'), ['one', 'two'])
})

test('a refusal says which and why, and does not stop what follows', async t => {
  const { alice, bob, eve } = await people(t, 'alice', 'bob', 'eve')
  await alice.makesGroup('ops', bob)
  await assert.rejects(eve.chat('g:ops').send('let me in'), { name: 'Refusal', code: 'not-a-member', final: true })
  await eve.hears({ kind: 'refused', conversation: 'g:ops' })
  await assert.rejects(eve.chat('nobody').send('hello'), { code: 'no-such-user' })
  await assert.rejects(eve.chat(bob).send({ text: '' }), { code: 'malformed' })
  await assert.rejects(eve.client.call('getGroup', { group: 'ops' }), { code: 'not-a-member', final: true })
  assert.equal((await eve.chat(bob).send('still here')).seq, 1)
})

test('a listener may send and wait for the outcome', async t => {
  const { alice, bob } = await people(t, 'alice', 'bob')
  bob.client.on('message', async ({ from, text }) => {
    if (from === 'alice') await bob.chat(alice).send(`${text}, too`)
  })
  for (let i = 0; i < 120; i++) void alice.chat(bob).send(`hi ${i}`)
  await alice.hears({ from: 'bob', text: 'hi 119, too' })
})

test('what a listener did not finish comes again after a restart; what it finished does not', async t => {
  const { alice, bob } = await people(t, { clientId: 'phone', store: memoryStore() }, 'alice', 'bob')
  let reached: (() => void) | undefined
  const stuck = new Promise<void>(resolve => (reached = resolve))
  bob.client.on('message', ({ text }) => {
    if (text !== 'two') return undefined
    reached?.()
    return new Promise(() => undefined)
  })
  for (const text of ['one', 'two', 'three']) await alice.chat(bob).send(text)
  await stuck
  bob.heard.splice(0)
  await bob.restarts()
  await bob.hears({ text: 'three' })
  assert.deepEqual(bob.texts('u:alice:bob'), ['two'])
})

test('a group is made, renamed, handed on and left, and its members hear of it in order', async t => {
  const { alice, bob, carol } = await people(t, 'alice', 'bob', 'carol')
  const ops = await alice.makesGroup('ops', bob)
  await bob.hears({ kind: 'members', conversation: 'g:ops' })
  await ops.rename('Operations')
  await bob.hears({ kind: 'members', action: 'renamed' })
  await ops.add('carol')
  await carol.hears({ kind: 'members', action: 'added', users: ['carol'] })
  await ops.transfer('bob')
  assert.equal((await ops.about()).owner, 'bob')
  await ops.leave()
  const { seq } = await bob.chat('g:ops').send('alice is gone')
  await carol.hears({ kind: 'message', seq, conversation: 'g:ops' })
  await assert.rejects(ops.send('am I?'), { code: 'not-a-member' })
  const { items } = await group(carol.client, 'ops').members()
  assert.deepEqual(
    items.map(({ user }) => user),
    ['bob', 'carol'],
  )
  assert.equal(alice.texts('g:ops').length, 0)
})

test('who comes back to a group is told of the part that they will never get', async t => {
  const { alice, bob } = await people(t, 'alice', 'bob')
  const ops = await alice.makesGroup('ops', bob)
  await ops.send('one')
  await bob.hears({ text: 'one' })
  await ops.remove('bob')
  const { seq } = await ops.send('without bob')
  await ops.add('bob')
  await ops.send('two')
  const gap = await bob.hears({ kind: 'gap', conversation: 'g:ops', reason: 'not-a-member' })
  assert.ok(Number(gap.from) <= seq && seq <= Number(gap.to))
  await bob.hears({ text: 'two' })
  assert.deepEqual(bob.texts('g:ops'), [])
})

test('an operation answers the same over MQTT as over REST', async t => {
  const { alice, bob } = await people(t, 'alice', 'bob')
  await alice.chat(bob).send('hi')
  const request = { conversation: 'u:alice:bob', limit: 10 }
  const [rest, mqtt] = [
    await alice.client.call('listMessages', request),
    await alice.client.call('listMessages', request, { via: 'mqtt' }),
  ]
  assert.deepEqual(mqtt, rest)
  await assert.rejects(alice.client.call('getUser', { user: 'nobody' }, { via: 'mqtt' }), { code: 'no-such-user' })
})

test('history is read in both directions, and recalled messages are tombstones', async t => {
  const { alice, bob } = await people(t, 'alice', 'bob')
  for (let i = 1; i <= 5; i++) await alice.chat(bob).send(`${i}`)
  await alice.chat(bob).recall(2)
  const texts = async (range: object) =>
    (await bob.chat(alice).history(range)).items.map(item => ('text' in item ? item.text : item.kind))
  assert.deepEqual(await texts({ before: 4 }), ['1', 'message', '3'])
  assert.deepEqual(await texts({ after: 3, limit: 2 }), ['4', '5'])
  await bob.hears({ kind: 'recall', target: 2 })
})

test('plain text from a stock client is a message like any other', async t => {
  const { alice, bob } = await people(t, 'alice', 'bob')
  const stock = await bob.stock(t)
  await stock.publishAsync('im/u/alice/send', 'from a stock client', { qos: 1 })
  await alice.hears({ kind: 'message', from: 'bob', type: 'text', text: 'from a stock client' })
  await bob.hears({ kind: 'message', from: 'bob', text: 'from a stock client' })
})

test('a second client under the same id takes over, and the first does not take it back', async t => {
  const { alice } = await people(t, { clientId: 'phone' }, 'alice')
  const second = new Person(t, alice.server, 'alice', {
    clientId: 'phone',
    ...(alice.tokens && { login: alice.tokens }),
  })
  await second.comesBack()
  const { refusal } = await alice.hears({ kind: 'disconnected', again: false })
  assert.equal((refusal as { code: string }).code, 'session-taken-over')
  assert.ok(second.client.connected)
})

test('a log-in that has ended elsewhere ends here too, and says so', async t => {
  const { alice } = await people(t, 'alice')
  const { refreshToken = '' } = alice.tokens ?? {}
  await alice.client.call('logOut', { refreshToken })
  const { refusal } = await alice.hears({ kind: 'disconnected', again: false })
  assert.equal((refusal as { code: string }).code, 'signed-out')
  assert.equal(alice.tokens, undefined)
  await assert.rejects(alice.client.call('getMe'), { code: 'not-signed-in' })
})

test('a personal key is enough for a script', async t => {
  const { alice, bob } = await people(t, 'alice', 'bob')
  const { key } = await alice.client.call('createKey', { name: 'cron' })
  const script = new Person(t, alice.server, 'alice', { login: { user: 'alice', key } })
  await script.comesBack()
  await script.chat(bob).send('from a script')
  await bob.hears({ text: 'from a script' })
})

test('a log-in kept from before connects without a password', async t => {
  const server = await startServer(t)
  const { alice } = await people(t, { server }, 'alice')
  await alice.restarts()
  assert.deepEqual(alice.client.identity, { app: 'im', user: 'alice' })
  assert.ok(alice.client.connected)
})
