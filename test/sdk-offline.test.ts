/** The SDK over bad lines: cut, deaf, gone for long. Nothing is lost, nothing comes twice, nothing out of order. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryStore } from '../sdk/client.ts'
import { people, startServer } from './harness.ts'
import { line } from './support/line.ts'
import { TestServer } from './support/server.ts'

const texts = (count: number, of = 'm') => Array.from({ length: count }, (_, i) => `${of}${i}`)

test('a line that is cut again and again loses nothing and doubles nothing', async t => {
  const server = await startServer(t)
  const wire = await line(t, server.http)
  const { alice, bob } = await people(t, { server, line: wire }, 'alice', 'bob')
  const wanted = texts(300)
  const outcomes: Promise<{ seq: number }>[] = []
  for (const [i, text] of wanted.entries()) {
    outcomes.push(alice.chat(bob).send(text))
    if (i % 60 === 30) await outcomes.at(-20)
    if (i % 60 === 30) {
      wire.cut()
      wire.mend()
    }
  }
  const seqs = (await Promise.all(outcomes)).map(({ seq }) => seq)
  assert.deepEqual(
    seqs,
    wanted.map((_, i) => i + 1),
  )
  await bob.hears({ kind: 'message', seq: 300 })
  assert.deepEqual(bob.texts('u:alice:bob'), wanted.slice(0, -1))
})

test('when acknowledgements are lost the messages are sent again, and stored once', async t => {
  const server = await startServer(t)
  const wire = await line(t, server.http)
  const { alice } = await people(t, { server, line: wire }, 'alice')
  const { bob } = await people(t, { server }, 'bob')
  wire.deafen()
  const outcomes = texts(20).map(text => alice.chat(bob).send(text))
  await bob.hears({ text: 'm19' })
  wire.cut()
  wire.mend()
  assert.deepEqual(
    (await Promise.all(outcomes)).map(({ seq }) => seq),
    texts(20).map((_, i) => i + 1),
  )
  assert.equal((await bob.history(alice)).length, 20)
})

test('an outbox that was kept goes out after a restart of the app', async t => {
  const server = await startServer(t)
  const { bob } = await people(t, { server }, 'bob')
  const { alice } = await people(t, { server, store: memoryStore() }, 'alice')
  await alice.goesOffline()
  const outcomes = texts(5).map(text => alice.chat(bob).send(text))
  const closed = Promise.allSettled(outcomes)
  await alice.restarts()
  await bob.hears({ text: 'm4' })
  assert.deepEqual(bob.texts('u:alice:bob'), texts(4))
  for (const outcome of await closed) assert.equal(outcome.status === 'rejected' && outcome.reason.code, 'closed')
})

test('what came while the server had forgotten the session is fetched first, of new conversations too', async t => {
  const server = await startServer(t)
  const { alice, carol } = await people(t, { server }, 'alice', 'carol')
  const { bob } = await people(t, { server, sessionExpiryS: 0 }, 'bob')
  await alice.chat(bob).send('m0')
  await bob.hears({ text: 'm0' })
  await bob.goesOffline()
  for (const text of texts(250).slice(1)) await alice.chat(bob).send(text)
  await carol.chat(bob).send('hello, I am new')
  await bob.comesBack()
  await alice.chat(bob).send('last')
  await bob.hears({ text: 'last' })
  await bob.hears({ text: 'hello, I am new' })
  assert.deepEqual(bob.texts('u:alice:bob'), texts(250).slice(1))
})

test('a server that is killed again and again under load: every message once, in order', {
  timeout: 120_000,
}, async t => {
  const server = await TestServer.start(t)
  const wire = await line(t, server.ports.http)
  const { alice, bob } = await people(t, { server: server.ports, line: wire }, 'alice', 'bob')
  const outcomes: Promise<unknown>[] = []
  let count = 0
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 200; i++) outcomes.push(alice.chat(bob).send(`m${count++}`))
    await outcomes[count - 150]
    await server.kill()
    await server.start()
    wire.to(server.ports.http)
  }
  await Promise.all(outcomes)
  await bob.hears({ text: `m${count - 1}` })
  assert.deepEqual(bob.texts('u:alice:bob'), texts(count - 1))
})
