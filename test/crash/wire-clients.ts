/** Clients of a crash run on the raw wire: they know what they sent and what they have, and come back when told to. */
import {
  connectPacket,
  decode,
  type Packet,
  PUBACK,
  publishPacket,
  subscribePacket,
  type Version,
} from '../../bench/wire/packets.ts'
import { type View, Wire } from '../../bench/wire/wire.ts'
import type { Person } from '../support/person.ts'
import type { Letter, Letters } from './letters.ts'
import type { Recorder } from './recorder.ts'

const PROPERTIES = { sessionExpiryInterval: 3_600 }

interface Identity {
  recorder: Recorder
  person: Person
  name: string
  version: Version
}

/** Opens a persistent session; what else comes is for `ears`. Resolves when it is accepted, or the line is dead. */
function open(
  { person, name, version }: Identity,
  ears: {
    packet(wire: Wire, packet: Packet): void
    publish?(view: View): void
    puback?(id: number, code: number): void
    closed(): void
  },
): Wire {
  const wire: Wire = new Wire({ port: person.server.ports.mqtt }, version, {
    packet: (type, flags, body) => ears.packet(wire, decode(version, type, flags, body)),
    ...(ears.publish && { publish: ears.publish }),
    ack: (_type, id, code) => ears.puback?.(id, code),
    closed: ears.closed,
  })
  const { user: username, key: password } = person
  const properties = version === 5 ? PROPERTIES : {}
  wire.write(connectPacket(version, { clientId: name, username, password, clean: false, properties }))
  return wire
}

/** Has many messages under way; after a cut it sends what is unacknowledged again, with DUP, before anything new. */
export class WireSender {
  readonly #who: Identity
  readonly #letters: Letters
  readonly #inFlight: number
  readonly #unacked = new Map<number, Letter>()
  #ids = 0
  #stopped = false
  #wire: Wire | undefined

  constructor(who: Identity, letters: Letters, inFlight: number) {
    this.#who = who
    this.#letters = letters
    this.#inFlight = inFlight
  }

  get idle(): boolean {
    return this.#unacked.size === 0
  }
  /** Sends nothing new. */
  stop(): void {
    this.#stopped = true
  }
  /** From its next connection on it does again. */
  goOn(): void {
    this.#stopped = false
  }
  end(): void {
    this.#wire?.destroy()
  }

  connect(): void {
    const connection = this.#who.recorder.connection(this.#who.name)
    this.#wire = open(this.#who, {
      packet: (wire, packet) => {
        if (packet.type !== 'connack') return
        if (packet.code !== 0) return this.#fails(`CONNECT of ${this.#who.name} is refused with ${packet.code}`)
        for (const [id, letter] of this.#unacked) this.#send(wire, connection, id, letter, true)
        this.#fill(wire, connection)
      },
      puback: (id, code) => {
        const letter = this.#unacked.get(id)
        this.#unacked.delete(id)
        if (!letter || code !== 0) this.#fails(`PUBACK of ${letter?.text} with ${code}`)
        else this.#who.recorder.acked(letter.text)
        if (this.#wire) this.#fill(this.#wire, connection)
      },
      closed: () => {},
    })
  }

  #fails(how: string): void {
    this.#who.recorder.problems.push(how)
  }

  #fill(wire: Wire, connection: string): void {
    while (!this.#stopped && !wire.closed && this.#unacked.size < this.#inFlight) {
      do this.#ids = (this.#ids % 65_535) + 1
      while (this.#unacked.has(this.#ids))
      const letter = this.#letters.next()
      this.#unacked.set(this.#ids, letter)
      this.#send(wire, connection, this.#ids, letter, false)
    }
  }

  #send(wire: Wire, connection: string, id: number, letter: Letter, again: boolean): void {
    const { recorder, person, version } = this.#who
    const { topic, payload, text, conversation, clientMessageId } = letter
    recorder.add({
      do: 'sent',
      at: recorder.now(),
      connection,
      from: person.user,
      conversation,
      text,
      ...(clientMessageId !== undefined && { clientMessageId }),
      ...(again && { again }),
    })
    wire.write(publishPacket(version, { topic, payload, qos: 1, id, dup: again }))
  }
}

/** Reads its inbox by one session for the whole run. */
export class WireReader {
  readonly name: string
  readonly user: string
  readonly #who: Identity
  /** Acknowledges when so many wait, and what is left a little later; 1 acknowledges at once. */
  readonly #ackEvery: number
  #subscribed = false
  #wire: Wire | undefined

  constructor(who: Identity, ackEvery: number) {
    this.#who = who
    this.name = who.name
    this.user = who.person.user
    this.#ackEvery = ackEvery
  }

  /** Resolves when it is subscribed, or the line is dead. */
  connect(): Promise<void> {
    const { recorder, person, version } = this.#who
    const { name: session, user } = this
    const connection = recorder.connection(session)
    let isAccepted = false
    return new Promise(resolve => {
      const wire = open(this.#who, {
        packet: (_wire, packet) => {
          if (packet.type === 'suback') {
            this.#subscribed = true
            recorder.add({ do: 'subscribed', at: recorder.now(), session })
            resolve()
          }
          if (packet.type !== 'connack') return
          if (packet.code !== 0) recorder.problems.push(`CONNECT of ${session} is refused with ${packet.code}`)
          isAccepted = true
          const resumed = packet.sessionPresent
          recorder.add({ do: 'connected', at: recorder.now(), connection, session, user, resumed })
          if (this.#subscribed && !resumed) recorder.problems.push(`the session ${session} is lost`)
          if (this.#subscribed) resolve()
          else wire.write(subscribePacket(version, 1, [{ filter: person.inbox, qos: 1 }]))
        },
        publish: view => this.#came(wire, connection, view),
        closed: () => {
          if (isAccepted) recorder.add({ do: 'disconnected', at: recorder.now(), connection, session })
          resolve()
        },
      })
      this.#wire = wire
      wire.acknowledges = this.#ackEvery === 1
      this.#late = []
    })
  }

  #late: number[] = []
  #came(wire: Wire, connection: string, { buffer, flags, id, payloadStart, payloadEnd }: View): void {
    const payload = buffer.toString('utf8', payloadStart, payloadEnd)
    this.#who.recorder.came(connection, this.name, this.user, payload, (flags & 8) !== 0)
    if (wire.acknowledges) return
    this.#late.push(id)
    if (this.#late.length === 1) setTimeout(() => this.#acknowledge(wire), 100)
    if (this.#late.length >= this.#ackEvery) this.#acknowledge(wire)
  }
  #acknowledge(wire: Wire): void {
    // What a connection before this one left is not this one's to acknowledge.
    if (wire !== this.#wire || wire.closed) return
    for (const id of this.#late.splice(0)) wire.ack(PUBACK, id)
  }

  /** Cuts the line without DISCONNECT. */
  cut(): void {
    this.#wire?.destroy()
  }
  get connected(): boolean {
    return this.#wire !== undefined && !this.#wire.closed
  }
}
