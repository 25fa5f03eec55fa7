/** Away costs nothing and loses nothing: thousands wait while thousands more arrive, over a restart of the server. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { entryOf, type Person } from './support/person.ts'
import { TestServer } from './support/server.ts'

const EACH = 5_000

async function send(alice: Person, from: number, count: number): Promise<void> {
  const sender = await alice.connect(5, { clientId: `sender-${from}` })
  const pending: Promise<unknown>[] = []
  for (let i = from; i < from + count; i++) {
    pending.push(sender.publish({ topic: 'im/u/bob/send', payload: `${i}`, qos: 1 }))
    if (pending.length >= 200) await Promise.all(pending.splice(0))
  }
  await Promise.all(pending)
  await sender.disconnect()
}

for (const version of [4, 5] as const) {
  test(`5,000 messages wait, 5,000 more arrive during the reconnect: 10,000 in order (${version})`, {
    timeout: 120_000,
  }, async t => {
    const server = await TestServer.start(t)
    const { alice, bob } = await server.people('alice', 'bob')
    const away = await bob.connect(version)
    await away.subscribe(bob.inbox)
    await away.disconnect()
    await send(alice, 0, EACH)
    await server.stop()
    await server.start()
    const more = send(alice, EACH, EACH)
    const back = await bob.connect(version)
    for (let i = 0; i < 2 * EACH; i++) assert.equal(entryOf(await back.next('publish')).text, String(i))
    await more
    await back.ping()
    assert.deepEqual(back.untaken('publish'), [])
  })
}
