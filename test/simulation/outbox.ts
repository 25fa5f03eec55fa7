/** What a device sends, and sends again while it has no answer. */
import { ackPacket, PUBACK, PUBCOMP, PUBREC, PUBREL, publishPacket } from '../../bench/wire/packets.ts'
import type { DeviceIs, World } from './device.ts'

/** The device, as far as it sends. */
interface Sender {
  readonly connection: string
  readonly connected: boolean
  send(bytes: Uint8Array): void
}
interface Outgoing {
  text: string
  clientMessageId?: string | undefined
  conversation: string
  topic: string
  payload: string
  qos: 1 | 2
  /** PUBREC came: only PUBREL is left to send. */
  released: boolean
  sent: boolean
}

const MAX_IN_FLIGHT = 8

export class Outbox {
  readonly #is: DeviceIs
  readonly #sender: Sender
  readonly #world: Pick<World, 'now' | 'tell'>
  /** Packet id → what is not acknowledged, in the order of sending. */
  #out = new Map<number, Outgoing>()
  #ids = 0
  #count = 0
  /** Messages to each conversation. */
  readonly #counts = new Map<string, number>()

  constructor(is: DeviceIs, sender: Sender, world: Pick<World, 'now' | 'tell'>) {
    this.#is = is
    this.#sender = sender
    this.#world = world
  }

  get sending(): boolean {
    return this.#out.size > 0
  }

  say(conversation: string, topic: string, qos: 1 | 2): void {
    if (this.#out.size >= MAX_IN_FLIGHT) return
    const text = `${this.#is.clientId}-${++this.#count}`
    const clientMessageId = this.#is.namesMessages ? this.#name(conversation) : undefined
    this.#ids = this.#nextId()
    const payload = clientMessageId ? JSON.stringify({ text, clientMessageId }) : text
    this.#out.set(this.#ids, { text, clientMessageId, conversation, topic, payload, qos, released: false, sent: false })
    if (this.#sender.connected) this.#hand(this.#ids)
  }

  /** Some clients count; others take the least that is free, so that an id is soon another message's. */
  #nextId(): number {
    if (this.#is.version === 4) return (this.#ids % 60_000) + 1
    let id = 1
    while (this.#out.has(id)) id++
    return id
  }

  /** What it names a message in one conversation, it names another in the next, and so do other people. */
  #name(conversation: string): string {
    const count = (this.#counts.get(conversation) ?? 0) + 1
    this.#counts.set(conversation, count)
    return `${this.#is.clientId.slice(1)}-${count}`
  }

  /** CONNACK: what has no answer goes out, or goes out again. */
  resume(): void {
    for (const id of [...this.#out.keys()]) this.#hand(id)
  }

  /** What was sent has no outcome. */
  forget(): void {
    this.#out.clear()
    this.#ids = 0
  }

  #hand(id: number): void {
    const out = this.#out.get(id)
    if (!out) return
    const { user, version } = this.#is
    if (out.released) {
      this.#sender.send(ackPacket(version, PUBREL, id))
      return
    }
    this.#world.tell({
      do: 'sent',
      at: this.#world.now(),
      connection: this.#sender.connection,
      from: user,
      conversation: out.conversation,
      text: out.text,
      ...(out.clientMessageId && { clientMessageId: out.clientMessageId }),
      ...(out.sent && { again: true }),
    })
    this.#sender.send(publishPacket(version, { ...out, id, dup: out.sent }))
    out.sent = true
  }

  acked(type: number, id: number, code: number): void {
    const out = this.#out.get(id)
    if (!out) return
    const at = this.#world.now()
    if (code >= 0x80) {
      this.#out.delete(id)
      this.#world.tell({ do: 'refused', at, text: out.text, code: `0x${code.toString(16)}` })
    } else if (type === PUBREC) {
      out.released = true
      this.#hand(id)
    } else if (type === PUBACK || type === PUBCOMP) {
      this.#out.delete(id)
      this.#world.tell({ do: 'acknowledged', at, text: out.text })
    }
  }
}
