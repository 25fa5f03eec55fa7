/** A reader that stops reading costs the server no memory and others no time, and gets everything once it reads on. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Script } from '../bench/wire/script.ts'
import { INSPECTABLE, liveMiB } from './support/memory.ts'
import { entryOf, type Person } from './support/person.ts'
import { scale } from './support/proof.ts'
import { TestServer } from './support/server.ts'

/** Few large ones at once: what others wait for is then not the sender's own queue. */
async function send(sender: Script, count: number, text: (i: number) => string): Promise<void> {
  const inFlight = text(0).length > 10_000 ? 4 : 100
  const pending: Promise<unknown>[] = []
  for (let i = 0; i < count; i++) {
    pending.push(sender.publish({ topic: 'im/u/bob/send', payload: text(i), qos: 1 }))
    if (pending.length >= inFlight) await Promise.all(pending.splice(0))
  }
  await Promise.all(pending)
}

/** Round trips of two others, one at a time, until told to stop: milliseconds, sorted. */
function others(carol: Script, dave: Script): { stop: () => Promise<number[]> } {
  let going = true
  const times: number[] = []
  const done = (async () => {
    while (going) {
      const from = performance.now()
      carol.publish({ topic: 'im/u/dave/send', payload: 'ping', qos: 1 })
      await dave.next('publish')
      times.push(performance.now() - from)
    }
  })()
  return {
    stop: async () => {
      going = false
      await done
      return times.sort((a, b) => a - b)
    },
  }
}

const [TEXTS, LARGE] = [scale('SLOW_TEXTS', 50_000), scale('SLOW_LARGE', 2_000)]
const WORKLOADS = [
  { name: `${TEXTS} texts of 200 bytes`, count: TEXTS, bytes: 200 },
  { name: `${LARGE} of 64 KiB`, count: LARGE, bytes: 64 * 1024 - 16 },
]

for (const { name, count, bytes } of WORKLOADS) {
  test(`a reader that stops reading while ${name} arrive`, {
    timeout: 180_000,
  }, async t => {
    const server = await TestServer.start(t, { IM_FSYNC: 'off', ...INSPECTABLE })
    const { alice, bob, carol, dave } = await server.people('alice', 'bob', 'carol', 'dave')
    const connect = async (person: Person) => {
      const script = await person.connect(5)
      await script.subscribe(person.inbox)
      return script
    }
    const [stalled, from, to] = [await connect(bob), await connect(carol), await connect(dave)]
    const sender = await alice.connect(5)
    const padding = 'x'.repeat(bytes)
    const text = (i: number) => `${String(i).padStart(8, '0')} ${padding}`

    // The same without a stalled reader comes first, twice: the working memory of such a load is not the reader's.
    let before: number[] = []
    for (let round = 0; round < 2; round++) {
      const alone = others(from, to)
      const read = (async () => {
        for (let i = 0; i < count; i++) await stalled.next('publish')
      })()
      await Promise.all([send(sender, count, text), read])
      before = await alone.stop()
    }
    const held = await liveMiB(server)

    stalled.wire.stopReading()
    const beside = others(from, to)
    await send(sender, count, text)
    const during = await beside.stop()
    const grown = (await liveMiB(server)) - held

    stalled.wire.readOn()
    for (let i = 0; i < count; i++)
      assert.ok(entryOf(await stalled.next('publish')).text?.startsWith(String(i).padStart(8, '0')), `message ${i}`)
    const p99 = (times: number[]) => times[Math.floor(times.length * 0.99)] ?? 0
    t.diagnostic(
      `grew by ${grown.toFixed(1)} MiB; p99 of others ${p99(before).toFixed(1)} ms before, ${p99(during).toFixed(1)} ms during`,
    )
    // How long others waited is told and not judged: machines are noisy.
    assert.ok(during.length > 0, 'others came to a stop')
    assert.ok(grown < 20, `the server grew by ${grown.toFixed(1)} MiB`)
  })
}
