/** kill -9 under load: what was acknowledged is in history once, and reaches every receiver in order. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { publishPacket } from '../bench/wire/packets.ts'
import type { Script } from '../bench/wire/script.ts'
import { entryOf, type Person, TestServer } from './support/server.ts'

/** `CRASHES=200` is the long run. */
const CRASHES = Number(process.env.CRASHES ?? 25)
const SENDERS = 20
const IN_FLIGHT = 4

/** A stock client that sends for ever: after a cut it sends what is unacknowledged again, with DUP. */
class Sender {
  readonly acked: string[] = []
  readonly #person: Person
  readonly #name: string
  readonly #version: 4 | 5
  readonly #unacked = new Map<number, string>()
  #count = 0
  #script: Script | undefined
  #stopped = false
  finished: Promise<void> = Promise.resolve()

  constructor(person: Person, index: number) {
    this.#person = person
    this.#name = `s${index}`
    this.#version = index % 2 === 0 ? 4 : 5
  }

  get sent(): number {
    return this.#count
  }

  async connect(): Promise<void> {
    const script = await this.#person.connect(this.#version, { clientId: this.#name })
    this.#script = script
    for (const [id, text] of this.#unacked)
      script.send(publishPacket(this.#version, { ...this.#packet(id, text), dup: true }))
    this.finished = this.#run(script)
  }

  async #run(script: Script): Promise<void> {
    try {
      for (;;) {
        while (!this.#stopped && this.#unacked.size < IN_FLIGHT) this.#send(script)
        if (this.#unacked.size === 0) return
        const { id, code } = await script.next('puback')
        assert.equal(code, 0)
        const text = this.#unacked.get(id)
        if (text !== undefined) this.acked.push(text)
        this.#unacked.delete(id)
      }
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error
    }
  }

  #send(script: Script): void {
    const text = `${this.#name} ${this.#count++}`
    const id = (this.#count % 65_535) + 1
    this.#unacked.set(id, text)
    script.send(publishPacket(this.#version, this.#packet(id, text)))
  }

  #packet(id: number, text: string) {
    // Every other sender has ids of its own; the rest rely on packet ids.
    const payload =
      Number(this.#name.slice(1)) % 4 < 2 ? JSON.stringify({ text, clientMessageId: text.replace(' ', '-') }) : text
    return { topic: 'im/g/ops/send', payload, qos: 1 as const, id }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.finished
    await this.#script?.disconnect()
  }
}

test(`${CRASHES} times kill -9 under load from ${SENDERS} senders loses, doubles and reorders nothing`, {
  timeout: 600_000,
}, async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  await alice.group('ops', bob)
  let reader = await bob.connect(4)
  await reader.subscribe(bob.inbox)
  const senders = Array.from({ length: SENDERS }, (_, i) => new Sender(alice, i))
  const heard: { seq: number; text: string | undefined }[] = []
  const take = (script: Script) => {
    for (const packet of script.untaken('publish')) heard.push({ seq: entryOf(packet).seq, text: entryOf(packet).text })
  }

  for (let crash = 0; crash < CRASHES; crash++) {
    await Promise.all(senders.map(sender => sender.connect()))
    const sender = senders[crash % SENDERS] as Sender
    // A random moment, told by what has been acknowledged.
    const until = sender.acked.length + 1 + Math.floor(Math.random() * 30)
    while (sender.acked.length < until) await new Promise(resolve => setImmediate(resolve))
    await server.kill()
    await Promise.all(senders.map(({ finished }) => finished))
    take(reader)
    await server.start()
    reader = await bob.connect(4)
  }
  await Promise.all(senders.map(sender => sender.connect()))
  await Promise.all(senders.map(sender => sender.stop()))

  const history = await bob.history('g:ops')
  assert.deepEqual(
    history.map(({ seq }) => seq),
    history.map((_, i) => i + 1),
    'seqs have gaps',
  )
  const stored = history.filter(({ kind }) => kind === 'message').map(({ text }) => text as string)
  assert.equal(new Set(stored).size, stored.length, 'a message is there twice')
  const all = new Set(stored)
  for (const sender of senders)
    for (const text of sender.acked) assert.ok(all.has(text), `${text} was acknowledged and is lost`)
  for (const [i] of senders.entries()) {
    const own = stored.filter(text => text.startsWith(`s${i} `)).map(text => Number(text.split(' ')[1]))
    assert.deepEqual(
      own,
      [...own].sort((a, b) => a - b),
      `what s${i} sent is out of order`,
    )
  }

  const last = history.at(-1)?.seq
  while (entryOf((await reader.next('publish')) as { payload: Buffer }).seq !== last);
  for (const packet of reader.packets)
    if (packet.type === 'publish') heard.push({ seq: entryOf(packet).seq, text: entryOf(packet).text })
  const got = new Set(heard.map(({ seq }) => seq))
  for (const { seq } of history.slice(1)) assert.ok(got.has(seq), `bob never got ${seq}`)
  t.diagnostic(`${senders.reduce((sum, { acked }) => sum + acked.length, 0)} acknowledged, ${history.length} stored`)
})
