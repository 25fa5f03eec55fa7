/** Wills: each is told once, whoever else has one, and when its time has come. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { entryOf } from './support/person.ts'
import { TestServer } from './support/server.ts'

const willOf = (payload: string, willDelayInterval?: number) => ({
  topic: 'im/g/ops/send',
  payload,
  qos: 1 as const,
  ...(willDelayInterval !== undefined && { properties: { willDelayInterval } }),
})

async function start(t: Parameters<typeof TestServer.start>[0]) {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  await alice.group('ops', bob)
  const ears = await alice.connect(5)
  await ears.subscribe(alice.inbox)
  const told = async () => entryOf(await ears.next('publish')).text
  return { server, alice, bob, ears, told }
}

test('a will is told every time, of every client and with the same text', async t => {
  const { bob, told } = await start(t)
  const will = willOf('bob is gone')
  for (const version of [4, 5] as const) {
    for (let i = 0; i < 2; i++) {
      const script = await bob.connect(version, { clean: true, will, properties: { sessionExpiryInterval: 0 } })
      await script.cut()
      assert.equal(await told(), 'bob is gone')
    }
  }
  const phones = [await bob.connect(4, { clientId: 'a', will }), await bob.connect(4, { clientId: 'b', will })]
  for (const phone of phones) {
    await phone.cut()
    assert.equal(await told(), 'bob is gone')
  }
})

test('a delayed will is told after its delay, at the end of its session, and not to who comes back', async t => {
  const { bob, told } = await start(t)
  const late = await bob.connect(5, { clientId: 'late', will: willOf('after a second', 1) })
  const cutAt = performance.now()
  await late.cut()
  assert.equal(await told(), 'after a second')
  assert.ok(performance.now() - cutAt > 900)
  // The session goes on: not told. A clean start ends it: told at once.
  const back = await bob.connect(5, { clientId: 'back', will: willOf('never', 3) })
  await back.cut()
  const again = await bob.connect(5, { clientId: 'back', will: willOf('at the clean start', 3600) })
  await again.cut()
  await bob.connect(5, { clientId: 'back', clean: true })
  assert.equal(await told(), 'at the clean start')
  // A session that ends with its connection takes the delay with it.
  const brief = { properties: { sessionExpiryInterval: 0 } }
  await (await bob.connect(5, { clientId: 'brief', will: willOf('no session, no delay', 3600), ...brief })).cut()
  assert.equal(await told(), 'no session, no delay')
  const asked = await bob.connect(5, { clientId: 'asked', will: willOf('asked for') })
  await asked.disconnect(4)
  assert.equal(await told(), 'asked for')
})

test('a takeover tells the will of the connection before', async t => {
  const { bob, told } = await start(t)
  await bob.connect(5, { will: willOf('the first') })
  const second = await bob.connect(5, { will: willOf('the second') })
  assert.equal(await told(), 'the first')
  await second.disconnect()
  const third = await bob.connect(5)
  await third.ping()
})

test('a will is told after the server was killed, once, where its client does not come back', {
  timeout: 90_000,
}, async t => {
  const { server, alice, bob } = await start(t)
  await bob.connect(4, { clientId: 'gone', will: willOf('gone with the server') })
  await bob.connect(4, { clientId: 'back', will: willOf('never told') })
  await server.kill()
  await server.start()
  await (await bob.connect(4, { clientId: 'back' })).disconnect()
  const ears = await alice.connect(5)
  const entry = entryOf(await ears.next('publish', ({ payload }) => payload.includes('gone with')))
  assert.equal(entry.from, 'bob')
  await server.kill()
  await server.start()
  const texts = (await alice.history('g:ops')).flatMap(({ text }) => text ?? [])
  assert.deepEqual(texts, ['gone with the server'])
})
