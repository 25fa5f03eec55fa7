/** The window: never more unacknowledged than it holds, whatever waits. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Script } from '../bench/wire/script.ts'
import { INSPECTABLE, liveMiB } from './support/memory.ts'
import { entryOf, type Person } from './support/person.ts'
import { scale } from './support/proof.ts'
import { TestServer } from './support/server.ts'

const CONVERSATIONS = scale('CONVERSATIONS', 1_500)
const MESSAGES = 100

/** Fills conversations quickly: every group's messages over one connection, many under way at once. */
async function fill(alice: Person, groups: string[], messages: number): Promise<void> {
  const sender = await alice.connect(5, { clientId: 'filler' })
  const window = 500
  const pending: Promise<unknown>[] = []
  for (let i = 0; i < messages; i++) {
    for (const group of groups) {
      pending.push(sender.publish({ topic: `im/g/${group}/send`, payload: `${group} ${i}`, qos: 1 }))
      if (pending.length >= window) await Promise.all(pending.splice(0))
    }
  }
  await Promise.all(pending)
  await sender.disconnect()
}

for (const version of [4, 5] as const) {
  const limit = version === 5 ? 10 : 100
  test(`${CONVERSATIONS} conversations with 100 waiting messages each come through a window of ${limit} (${version})`, {
    timeout: 300_000,
  }, async t => {
    const server = await TestServer.start(t, { IM_FSYNC: 'off', ...INSPECTABLE })
    const { alice, bob } = await server.people('alice', 'bob')
    const options = version === 5 ? { properties: { receiveMaximum: 10, sessionExpiryInterval: 3600 } } : {}
    const groups = Array.from({ length: CONVERSATIONS }, (_, i) => `g${i}`)
    for (let i = 0; i < groups.length; i += 50)
      await Promise.all(groups.slice(i, i + 50).map(group => alice.group(group, bob)))
    const away = await bob.connect(version, options)
    await away.subscribe(bob.inbox)
    await away.disconnect()
    await fill(alice, groups, MESSAGES)

    const before = await liveMiB(server)
    const stubborn = await bob.connect(version, options)
    stubborn.wire.acknowledges = false
    const first = await take(stubborn, limit - shareOf(limit))
    await stubborn.ping()
    assert.ok(stubborn.untaken('publish').length <= shareOf(limit), 'more than the window is unacknowledged')
    assert.equal(new Set(first.map(({ id }) => id)).size, first.length, 'a packet id was given twice')
    const held = (await liveMiB(server)) - before
    t.diagnostic(`the session holds ${(held * 1024).toFixed(0)} KiB`)
    assert.ok(held < 1, `the session holds ${held.toFixed(2)} MiB`)
    await stubborn.cut()

    const heard = new Map<string, number>()
    let reader = await bob.connect(version, options)
    const resent = await take(reader, first.length)
    assert.deepEqual(
      resent.map(({ id }) => id),
      first.map(({ id }) => id),
    )
    assert.ok(
      resent.every(({ dup }) => dup),
      'what was in flight comes with DUP',
    )
    for (const packet of resent) note(heard, packet)
    const total = CONVERSATIONS * MESSAGES
    const read = async (until: number) => {
      for (let count = [...heard.values()].reduce((sum, n) => sum + n, 0); count < until; ) {
        if (note(heard, await reader.next('publish'))) count++
      }
    }
    await read(Math.floor(total / 2))
    await reader.cut()
    reader = await bob.connect(version, options)
    await read(total)
    for (const group of groups) assert.equal(heard.get(`g:${group}`), MESSAGES, `${group} is incomplete`)
  })
}

/** Replies have a share of the window of their own. */
const shareOf = (limit: number) => Math.min(8, Math.floor(limit / 4))

async function take(script: Script, count: number) {
  const all = []
  for (let i = 0; i < count; i++) all.push(await script.next('publish'))
  return all
}

/** In order within its conversation; whether it is new. */
function note(heard: Map<string, number>, packet: { payload: Buffer; dup: boolean }): boolean {
  const { conversation, text } = entryOf(packet)
  const index = Number(text?.split(' ')[1])
  const next = heard.get(conversation) ?? 0
  if (index < next && packet.dup) return false
  assert.equal(index, next, `${conversation} is out of order`)
  heard.set(conversation, next + 1)
  return true
}
