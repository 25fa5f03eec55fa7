/**
 * A user of a fault run, on the raw wire: one persistent session that reads its inbox and says something now and then. When
 * its connection ends it comes back to another server, sends what is unacknowledged again with DUP, and goes on.
 */
import {
  connectPacket,
  decode,
  type Packet,
  publishPacket,
  subscribePacket,
  type Version,
} from '../../bench/wire/packets.ts'
import { type View, Wire } from '../../bench/wire/wire.ts'
import type { Letter, Letters } from '../crash/letters.ts'
import type { Recorder } from '../crash/recorder.ts'
import type { Person } from '../support/person.ts'
import type { Chance } from '../support/proof.ts'
import type { TestServer } from '../support/server.ts'

const PROPERTIES = { sessionExpiryInterval: 3_600 }
/** Sent and not acknowledged at once. */
const IN_FLIGHT = 4
/** Without an answer for so long, the line is given up, as a client does whose PINGREQ is not answered. */
const PATIENCE_MS = 20_000
/** Codes of a CONNACK after which a client tries again: unavailable, quota exceeded, busy. */
export const TEMPORARY = new Set([3, 0x88, 0x97, 0x9f])
/** Between two tries to connect, at least and at most. */
const RETRY_MS = [100, 600] as const

export interface Place {
  recorder: Recorder
  /** Where to connect. */
  servers: readonly TestServer[]
  chance: Chance
  /** Between two messages of one user, on average. */
  paceMs: number
}

/** What clients were told, by its name and code: `disconnect 0x97`. */
export type Told = Map<string, number>

export class Roamer {
  readonly name: string
  readonly person: Person
  readonly #version: Version
  readonly #place: Place
  readonly #letters: Letters
  readonly #told: Told
  readonly #unacked = new Map<number, { letter: Letter; at: number }>()
  #ids = 0
  #wire: Wire | undefined
  #connection = ''
  /** Of the server it was on last. */
  #last: number
  #isAccepted = false
  #hasSubscribed = false
  #isStopped = false
  #hasEnded = false
  #timers = new Set<NodeJS.Timeout>()
  /** How often it came to another server. */
  moves = 0
  ready: Promise<void>
  #isReady: () => void = () => {}

  constructor(place: Place, person: Person, version: Version, letters: Letters, told: Told) {
    this.#place = place
    this.person = person
    this.name = `${person.user}-phone`
    this.#version = version
    this.#letters = letters
    this.#told = told
    this.#last = place.chance.below(place.servers.length)
    this.ready = new Promise(resolve => {
      this.#isReady = resolve
    })
  }

  get user(): string {
    return this.person.user
  }
  get idle(): boolean {
    return this.#unacked.size === 0
  }
  /** The number of the server that it is connected to, from 0. */
  get on(): number {
    return this.#isAccepted ? this.#last : -1
  }

  /** Connects and subscribes; says nothing yet. */
  start(): void {
    this.#connect(this.#last)
  }
  talk(): void {
    this.#pace()
  }
  /** Says nothing new. */
  stop(): void {
    this.#isStopped = true
  }
  /** Cuts its line without DISCONNECT. */
  cut(): void {
    this.#wire?.destroy()
  }
  end(): void {
    this.#hasEnded = true
    for (const timer of this.#timers) clearTimeout(timer)
    this.#wire?.destroy()
  }

  #after(ms: number, then: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      then()
    }, ms)
    this.#timers.add(timer)
  }

  #pace(): void {
    const { chance, paceMs } = this.#place
    this.#after(1 + chance.below(2 * paceMs), () => {
      this.#say()
      this.#lookAt()
      this.#pace()
    })
  }

  /** A line on which nothing is answered is given up. */
  #lookAt(): void {
    const [oldest] = this.#unacked.values()
    if (!this.#isAccepted || !oldest || performance.now() - oldest.at < PATIENCE_MS) return
    this.#hears('no answer')
    this.#wire?.destroy()
  }

  #hears(what: string): void {
    this.#told.set(what, (this.#told.get(what) ?? 0) + 1)
  }

  #connect(to: number): void {
    if (this.#hasEnded) return
    const { recorder, servers } = this.#place
    if (to !== this.#last) this.moves++
    this.#last = to
    const connection = recorder.connection(this.name)
    const version = this.#version
    const wire: Wire = new Wire({ port: servers[to]?.ports.mqtt ?? 0 }, version, {
      packet: (type, flags, body) => this.#packet(wire, connection, decode(version, type, flags, body)),
      publish: view => this.#came(connection, view),
      ack: (_type, id, code) => this.#acknowledged(id, code),
      closed: () => this.#closed(wire, connection),
    })
    this.#wire = wire
    this.#connection = connection
    const { user: username, key: password } = this.person
    const properties = version === 5 ? PROPERTIES : {}
    wire.write(connectPacket(version, { clientId: this.name, username, password, clean: false, properties }))
    this.#after(PATIENCE_MS, () => {
      if (wire === this.#wire && !this.#isAccepted && !wire.closed) {
        this.#hears('no CONNACK')
        wire.destroy()
      }
    })
  }

  #packet(wire: Wire, connection: string, packet: Packet): void {
    const { recorder } = this.#place
    const { name: session, user } = this
    if (packet.type === 'suback') {
      if (packet.codes.some(code => code >= 0x80)) recorder.problems.push(`SUBSCRIBE of ${session}: ${packet.codes}`)
      this.#hasSubscribed = true
      recorder.add({ do: 'subscribed', at: recorder.now(), session })
      this.#isReady()
    } else if (packet.type === 'disconnect') this.#hears(`disconnect 0x${packet.code.toString(16)}`)
    else if (packet.type === 'connack') {
      if (packet.code !== 0) {
        this.#refused(packet.code)
        return
      }
      this.#isAccepted = true
      const resumed = packet.sessionPresent
      recorder.add({ do: 'connected', at: recorder.now(), connection, session, user, resumed })
      if (this.#hasSubscribed && !resumed) recorder.problems.push(`the session ${session} is lost, on ${connection}`)
      if (!this.#hasSubscribed || !resumed)
        wire.write(subscribePacket(this.#version, 65_535, [{ filter: this.person.inbox, qos: 1 }]))
      for (const [id, one] of this.#unacked) this.#send(wire, id, one.letter, true)
    }
  }

  /** A client that is refused for good does not come back. */
  #refused(code: number): void {
    this.#hears(`connack 0x${code.toString(16)}`)
    if (!TEMPORARY.has(code)) this.#place.recorder.problems.push(`${this.name} is refused with 0x${code.toString(16)}`)
  }

  #came(connection: string, { buffer, flags, payloadStart, payloadEnd }: View): void {
    const payload = buffer.toString('utf8', payloadStart, payloadEnd)
    this.#place.recorder.came(connection, this.name, this.user, payload, (flags & 8) !== 0)
  }

  #acknowledged(id: number, code: number): void {
    const { recorder } = this.#place
    const one = this.#unacked.get(id)
    this.#unacked.delete(id)
    if (one && code === 0) recorder.acked(one.letter.text)
    else recorder.problems.push(`PUBACK of “${one?.letter.text}” from ${this.name} with 0x${code.toString(16)}`)
  }

  #closed(wire: Wire, connection: string): void {
    const { recorder, servers, chance } = this.#place
    const { name: session } = this
    if (wire !== this.#wire) return
    if (this.#isAccepted) recorder.add({ do: 'disconnected', at: recorder.now(), connection, session })
    this.#isAccepted = false
    if (this.#hasEnded) return
    const other = (this.#last + 1 + chance.below(Math.max(1, servers.length - 1))) % servers.length
    const [least, most] = RETRY_MS
    this.#after(least + chance.below(most - least), () => this.#connect(other))
  }

  #say(): void {
    const wire = this.#wire
    if (this.#isStopped || !wire || !this.#isAccepted || !this.#hasSubscribed || this.#unacked.size >= IN_FLIGHT) return
    // The last id is the SUBSCRIBE's.
    do this.#ids = (this.#ids % 65_534) + 1
    while (this.#unacked.has(this.#ids))
    this.#send(wire, this.#ids, this.#letters.next(), false)
  }

  #send(wire: Wire, id: number, letter: Letter, again: boolean): void {
    const { recorder } = this.#place
    const { topic, payload, text, conversation, clientMessageId } = letter
    this.#unacked.set(id, { letter, at: performance.now() })
    recorder.add({
      do: 'sent',
      at: recorder.now(),
      connection: this.#connection,
      from: this.user,
      conversation,
      text,
      ...(clientMessageId !== undefined && { clientMessageId }),
      ...(again && { again }),
    })
    wire.write(publishPacket(this.#version, { topic, payload, qos: 1, id, dup: again }))
  }
}
