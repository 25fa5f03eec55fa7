/** What a client publishes: it is sent again while it has no answer, and its answer is held against the log. */
import { ackPacket, PUBACK, PUBCOMP, PUBREC, PUBREL, publishPacket } from '../../bench/wire/packets.ts'
import type { ClientIs } from './client.ts'
import type { Log, Message } from './log.ts'

/** The client, as far as it sends. */
interface Sender {
  readonly name: string
  readonly connected: boolean
  send(bytes: Uint8Array): void
}
interface World {
  readonly log: Log
  wrong(what: string): void
  acknowledged(): void
}
interface Outgoing {
  message: Message
  topic: string
  payload: string
  qos: 0 | 1 | 2
  sent: boolean
  /** PUBREC came: only PUBREL is left to send. */
  released: boolean
}

const MAX_IN_FLIGHT = 12

export class Outbox {
  readonly #is: ClientIs
  readonly #sender: Sender
  readonly #world: World
  readonly #out = new Map<number, Outgoing>()
  /** Of QoS 0, on this connection since the last quiet moment. */
  #unanswered: Message[] = []
  #ids = 0
  #count = 0
  #last: { conversation: string; topic: string; payload: string; message: Message } | undefined

  constructor(is: ClientIs, sender: Sender, world: World) {
    this.#is = is
    this.#sender = sender
    this.#world = world
  }

  get sending(): boolean {
    return this.#out.size > 0
  }

  publish(conversation: string, topic: string, qos: 0 | 1 | 2, named: boolean): void {
    if (this.#out.size >= MAX_IN_FLIGHT || (qos === 0 && !this.#sender.connected)) return
    const nth = ++this.#count
    const { name } = this.#sender
    const text = `${name} ${nth}`
    const { user, clientId, version } = this.#is
    const message = this.#world.log.published({ text, conversation, from: user, client: name, nth })
    const payload = named ? JSON.stringify({ text, clientMessageId: `${clientId}-${nth}` }) : text
    if (named && qos > 0) this.#last = { conversation, topic, payload, message }
    if (qos === 0) {
      this.#unanswered.push(message)
      this.#sender.send(publishPacket(version, { topic, payload }))
    } else this.#hold({ message, topic, payload, qos, sent: false, released: false })
  }

  /** The last message with a clientMessageId once more, as something new to MQTT. */
  repeat(): void {
    const last = this.#last
    if (!last || this.#out.size >= MAX_IN_FLIGHT) return
    const { log } = this.#world
    const isIn = log.mayWrite(this.#is.user, last.conversation)
    const { message } = last
    // What was refused before may be accepted now, in a later place.
    if (!message.logged) return
    Object.assign(message, message.open ? {} : { wasIn: isIn, wasOut: !isIn, open: true })
    this.#hold({ ...last, qos: 1, sent: false, released: false })
  }

  #hold(out: Outgoing): void {
    this.#ids = (this.#ids % 50_000) + 1
    this.#out.set(this.#ids, out)
    if (this.#sender.connected) this.#hand(this.#ids)
  }

  /** CONNACK: what has no answer goes out, or goes out again. */
  resume(): void {
    for (const id of [...this.#out.keys()]) this.#hand(id)
  }

  #hand(id: number): void {
    const out = this.#out.get(id)
    if (!out) return
    const { version } = this.#is
    if (out.released) this.#sender.send(ackPacket(version, PUBREL, id))
    else this.#sender.send(publishPacket(version, { ...out, id, dup: out.sent }))
    out.sent = true
  }

  acked(type: number, id: number, code: number): void {
    const out = this.#out.get(id)
    const { name } = this.#sender
    if (!out) {
      this.#world.wrong(`${name}: an acknowledgement of ${id}, which is nothing`)
      return
    }
    if (type === PUBREC && code < 0x80) {
      out.released = true
      this.#hand(id)
      return
    }
    if (type !== (out.qos === 1 ? PUBACK : code < 0x80 ? PUBCOMP : PUBREC))
      this.#world.wrong(`${name}: ${id} is acknowledged by a packet of type ${type}`)
    this.#out.delete(id)
    const { message } = out
    message.open = [...this.#out.values()].some(other => other.message === message)
    this.#judge(message, code)
  }

  #judge(message: Message, code: number): void {
    const { text, logged, wasIn, wasOut } = message
    const tells = this.#is.version === 5
    if (code >= 0x80 && !logged && !message.open) message.refused = true
    if (code >= 0x80 ? !wasOut : tells && !logged) this.#world.wrong(`"${text}" has the answer ${code}`)
    // MQTT 3.1.1 has no other answer to one who may not write.
    if (!tells && !logged && !wasOut) this.#world.wrong(`"${text}" is acknowledged and not there`)
    if (code < 0x80 && wasIn && logged) this.#world.acknowledged()
  }

  /** The connection is gone, and with it what nobody answers. */
  lost(): void {
    for (const message of this.#unanswered.splice(0)) message.open = false
  }

  /** Nothing is under way: everything has its answer. */
  quiet(): void {
    for (const { message } of this.#out.values()) this.#world.wrong(`"${message.text}" has no answer`)
    for (const message of this.#unanswered.splice(0)) {
      message.open = false
      if (!message.logged && !message.wasOut) this.#world.wrong(`"${message.text}" of QoS 0 is lost`)
    }
  }
}
