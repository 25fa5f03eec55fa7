/** Clients that load a server whose files are journalled, and note how long the journal was at each PUBACK. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { publishPacket } from '../../bench/wire/packets.ts'
import type { Script } from '../../bench/wire/script.ts'
import type { Person } from '../support/person.ts'
import type { Chance } from '../support/proof.ts'

export interface Acknowledged {
  group: string
  text: string
  /** Bytes of the journal when the PUBACK was here: a cut from there on must leave the message. */
  journal: number
}

const IN_FLIGHT = 4
const NOISE = randomBytes(192 * 1024).toString('base64')
/** Mostly small ones; enough large ones to fill LevelDB's buffers. They do not compress, so tables are as large. */
function padding(chance: Chance): string {
  const length = chance.happens(0.3) ? 4_000 + chance.below(40_000) : chance.below(700)
  const at = chance.below(NOISE.length - length)
  return NOISE.slice(at, at + length)
}

/** A stock client that sends for ever: after a cut it sends what is unacknowledged again, with DUP. */
export class Sender {
  readonly acknowledged: Acknowledged[] = []
  readonly #person: Person
  readonly #group: string
  readonly #index: number
  readonly #chance: Chance
  readonly #journalBytes: () => number
  readonly #unacked = new Map<number, string>()
  #count = 0
  #script: Script | undefined
  #stopped = false
  /** Its connection has ended, or all that it sent is acknowledged. */
  finished: Promise<void> = Promise.resolve()

  constructor(person: Person, group: string, index: number, chance: Chance, journalBytes: () => number) {
    this.#person = person
    this.#group = group
    this.#index = index
    this.#chance = chance
    this.#journalBytes = journalBytes
  }

  async connect(): Promise<void> {
    const version = this.#index % 2 === 0 ? 4 : 5
    const script = await this.#person.connect(version, { clientId: `s${this.#index}` })
    this.#script = script
    this.#stopped = false
    for (const [id, text] of this.#unacked)
      script.send(publishPacket(version, { ...this.#packet(id, text), dup: true }))
    this.finished = this.#run(script)
  }

  async #run(script: Script): Promise<void> {
    for (;;) {
      while (!this.#stopped && this.#unacked.size < IN_FLIGHT) this.#send(script)
      if (this.#unacked.size === 0) return
      const ack = await script.next('puback').catch(() => undefined)
      if (!ack) return
      assert.equal(ack.code, 0)
      const text = this.#unacked.get(ack.id)
      this.#unacked.delete(ack.id)
      if (text !== undefined) this.acknowledged.push({ group: this.#group, text, journal: this.#journalBytes() })
    }
  }

  #send(script: Script): void {
    const text = `s${this.#index} ${this.#count++} ${padding(this.#chance)}`
    const id = (this.#count % 65_535) + 1
    this.#unacked.set(id, text)
    script.send(publishPacket(script.wire.version, this.#packet(id, text)))
  }

  #packet(id: number, text: string) {
    // Half of the senders have ids of their own; the others rely on packet ids.
    const clientMessageId = text.split(' ', 2).join('-')
    const payload = this.#index % 4 < 2 ? JSON.stringify({ text, clientMessageId }) : text
    return { topic: `im/g/${this.#group}/send`, payload, qos: 1 as const, id }
  }

  /** Sends nothing more, waits for the last acknowledgements and leaves. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.finished
    if (!this.#script?.wire.closed) await this.#script?.disconnect()
  }
}
