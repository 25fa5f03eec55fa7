/** Puts packets on one connection: gives their ids, keeps them within the window, and knows what is in flight. */
import type { StoredEntry } from '../core/entry.ts'
import type { ConversationKey } from '../core/ports.ts'
import type { Seq } from '../protocol/ids.ts'
import type { Cursor } from './cursor.ts'
import type { Route } from './filters.ts'
import { envelope, gap } from './present.ts'
import { type Flight, Window, type WindowLimits } from './window.ts'
import type { OutboundPublish } from './wire.ts'

/** The connection, as the pump needs it. */
export interface Outlet {
  /** Whether the socket takes more now. */
  readonly writable: boolean
  /** Bytes of the packet on the wire. */
  size(packet: OutboundPublish): number
  write(packet: OutboundPublish): void
}

/** An entry, or a gap that ends at `seq`, that was in flight when the connection before ended. */
export interface Resend {
  packetId: number
  cursor: Cursor
  from: number
  seq: number
}

/** Replies and retained values that wait for room; beyond either the oldest are lost, as they may be. */
const MAX_LIVE = 1_000
const MAX_LIVE_BYTES = 4 * 1024 * 1024

export class Sender {
  readonly #outlet: Outlet
  readonly #maxPacketBytes: number
  readonly #window: Window
  readonly #settled: (cursor: Cursor, from: number, to: number) => void
  readonly #live: OutboundPublish[] = []
  #liveBytes = 0
  #resends: Resend[] = []

  constructor(outlet: Outlet, limits: WindowLimits, settled: (cursor: Cursor, from: number, to: number) => void) {
    this.#outlet = outlet
    this.#maxPacketBytes = limits.maxPacketBytes ?? Number.POSITIVE_INFINITY
    this.#window = new Window(limits)
    this.#settled = settled
  }

  /** Whether entries may go out: the socket takes them, the window has room, and nothing is left to resend. */
  get open(): boolean {
    return this.#outlet.writable && this.#resends.length === 0 && this.#window.room > 0
  }
  get waiting(): boolean {
    return this.#live.length > 0 || this.#resends.length > 0
  }
  get inFlightCount(): number {
    return this.#window.inFlight.size
  }
  reserve(wanted: number) {
    return this.#window.reserve(wanted)
  }
  flies(cursor: Cursor, seq: number): boolean {
    return this.#window.flies(cursor, seq)
  }
  /** What is unacknowledged, with its ids, for the connection after this one. */
  unacknowledged(): { packetId: number; flight: Flight }[] {
    const sent = [...this.#window.inFlight].flatMap(([packetId, flight]) =>
      flight.cursor && !flight.cursor.left ? [{ packetId, flight }] : [],
    )
    const unsent = this.#resends.map(({ packetId, cursor, from, seq }) => ({
      packetId,
      flight: { cursor, from, seq, bytes: 0 },
    }))
    return [...sent, ...unsent]
  }

  /** Sends an entry on its topic; false where there is no room. One that fits in no packet of the client counts as delivered. */
  entry(cursor: Cursor, entry: StoredEntry, route: Route): boolean {
    if (!this.#room(route.qos, entry.bytes.length)) return false
    const packet = this.#fitted(route, entry)
    if (packet) this.#send(packet, { cursor, from: entry.seq, seq: entry.seq, bytes: packet.payload.length })
    else this.#settled(cursor, entry.seq, entry.seq)
    return true
  }

  /** Before the first entry after what the session never gets; false where there is no room. */
  gaps(cursor: Cursor, upTo: number): boolean {
    const { floor } = cursor
    if (cursor.sent < floor && (cursor.has(floor) || this.flies(cursor, floor))) cursor.sent = floor
    if (!this.#offerGap(cursor, floor)) return false
    if (cursor.sent >= upTo) return true
    // What retention removed, but for what the connection before has handled.
    for (const [from, to] of this.#had(cursor)) {
      if (!this.#offerGap(cursor, Math.min(from - 1, upTo))) return false
      cursor.sent = Math.max(cursor.sent, Math.min(to, upTo))
    }
    return this.#offerGap(cursor, upTo)
  }

  /** Tells of a range that the reader never gets; false where there is no room. */
  #offerGap(cursor: Cursor, to: number): boolean {
    const from = cursor.sent + 1
    if (from > to) return true
    const packet = this.#gap(cursor, from, to)
    if (packet && !this.#room(packet.qos, packet.payload.length)) return false
    if (packet) this.#send(packet, { cursor, from, seq: to, bytes: packet.payload.length })
    else this.#settled(cursor, from, to)
    cursor.sent = to
    return true
  }

  /** A reply or a retained value: may be lost. */
  live(packet: OutboundPublish): void {
    if (this.#outlet.size(packet) > this.#maxPacketBytes) return
    this.#live.push(packet)
    this.#liveBytes += packet.payload.length
    while (this.#live.length > MAX_LIVE || (this.#liveBytes > MAX_LIVE_BYTES && this.#live.length > 1)) this.#nextLive()
  }

  /** Goes out before anything else, with the same ids and DUP [MQTT-4.4.0-1, MQTT-3.3.1-1]. */
  resend(flights: Resend[]): void {
    this.#resends = flights
  }
  /** Which entries of it may go out now. */
  get resendable(): { conversation: ConversationKey; seq: Seq }[] {
    const now = this.#outlet.writable ? this.#resends.slice(0, this.#window.liveRoom) : []
    return now.map(({ cursor, seq }) => ({ conversation: cursor.key, seq: seq as Seq }))
  }
  /** Sends the first of them, with the entries as they are now. */
  sendAgain(entries: readonly (StoredEntry | undefined)[]): void {
    for (const entry of entries) {
      if (!this.#outlet.writable || !this.#window.takesLive()) return
      this.#sendAgain(this.#resends.shift() as Resend, entry)
    }
  }

  acked(packetId: number): void {
    const flight = this.#window.remove(packetId)
    if (flight?.cursor) this.#settled(flight.cursor, flight.from, flight.seq)
  }

  /** Sends what waits for room beside entries. */
  flush(): void {
    while (this.#live.length > 0 && this.#resends.length === 0 && this.#outlet.writable) {
      const packet = this.#live[0] as OutboundPublish
      if (packet.qos === 1 && !this.#window.takesLive()) return
      this.#nextLive()
      this.#send(packet, { cursor: undefined, bytes: packet.payload.length })
    }
  }

  #nextLive(): void {
    this.#liveBytes -= this.#live.shift()?.payload.length ?? 0
  }

  clear(): void {
    this.#live.length = 0
    this.#liveBytes = 0
  }

  #sendAgain({ packetId, cursor, from, seq }: Resend, stored: StoredEntry | undefined): void {
    // Only a gap ends at the floor. Above it a gap is what was removed, or one that told of it.
    const entry = seq === cursor.floor ? undefined : stored
    cursor.resumedUpTo = Math.max(cursor.resumedUpTo, seq)
    const route = entry ? routeOf(cursor, entry) : (cursor.route ?? cursor.commandRoute)
    if (cursor.left || cursor.has(seq) || !route || route.qos === 0) return
    const packet = entry ? this.#fitted(route, entry) : this.#gap(cursor, from, seq)
    if (!packet) {
      this.#settled(cursor, from, seq)
      return
    }
    packet.packetId = packetId
    packet.dup = true
    this.#window.add(packetId, { cursor, from, seq, bytes: packet.payload.length })
    this.#outlet.write(packet)
  }

  #send(packet: OutboundPublish, flight: Flight | { cursor: undefined; bytes: number }): void {
    if (packet.qos === 1) {
      packet.dup = flight.cursor !== undefined && flight.seq <= flight.cursor.mayHaveUpTo
      packet.packetId = this.#window.freeId()
      this.#window.add(packet.packetId, flight)
    }
    this.#outlet.write(packet)
    // At QoS 0 an entry is delivered when the socket has it.
    if (packet.qos === 0 && flight.cursor) this.#settled(flight.cursor, flight.from, flight.seq)
  }

  /** What a session has acknowledged or has in flight, ascending. */
  #had(cursor: Cursor): [from: number, to: number][] {
    const above = [...(cursor.above ?? []), ...this.#window.of(cursor)].sort(([a], [b]) => a - b)
    return [[0, cursor.acked], ...above]
  }

  #room(qos: 0 | 1, bytes: number): boolean {
    return this.#outlet.writable && (qos === 0 || this.#window.takes(bytes))
  }

  /** Nothing where the reader has no topic for it, or it fits in no packet of the client. */
  #gap(cursor: Cursor, from: number, to: number): OutboundPublish | undefined {
    const left = to <= cursor.floor
    const route = left ? cursor.route : (cursor.route ?? cursor.commandRoute)
    const reason = left ? 'not-a-member' : 'retention'
    const packet = route && publishOf(route, gap(cursor.conversation, from, to, reason))
    return packet && this.#fits(packet) ? packet : undefined
  }

  /** The entry, or its envelope where it exceeds the client's Maximum Packet Size; nothing where that does too. */
  #fitted(route: Route, entry: StoredEntry): OutboundPublish | undefined {
    const packet = publishOf(route, entry.bytes)
    if (this.#fits(packet)) return packet
    packet.payload = envelope(entry)
    return this.#fits(packet) ? packet : undefined
  }
  #fits(packet: OutboundPublish): boolean {
    return this.#maxPacketBytes === Number.POSITIVE_INFINITY || this.#outlet.size(packet) <= this.#maxPacketBytes
  }
}

function publishOf(route: Route, payload: Uint8Array): OutboundPublish {
  const { topic, qos, subscriptionIds } = route
  return { topic, payload, qos, packetId: 0, dup: false, retain: false, subscriptionIds }
}

/** Commands go to the device on a topic of their own. */
export function routeOf(cursor: Cursor, entry: StoredEntry): Route | undefined {
  return entry.kind === 'command' && cursor.commandRoute ? cursor.commandRoute : cursor.route
}
