/** What may be unacknowledged on one connection: messages, bytes, and packet ids. */
import type { Cursor } from './cursor.ts'

export interface WindowLimits {
  /** Unacknowledged QoS 1 packets: the least of the client's Receive Maximum and the setting; at least 1. */
  messages: number
  /** Unacknowledged bytes of entries; one entry is always allowed. */
  bytes: number
  /** The client's Maximum Packet Size, if it has one. */
  maxPacketBytes?: number | undefined
}

/** An entry, or a gap from `from` to `seq`, sent and not yet acknowledged. */
export interface Flight {
  cursor: Cursor
  from: number
  seq: number
  bytes: number
}
/** A reply or a retained value. */
export interface LiveFlight {
  cursor: undefined
  bytes: number
}

export class Window {
  readonly inFlight = new Map<number, Flight | LiveFlight>()
  readonly #limits: WindowLimits
  /** Kept free of entries, for replies and retained values. */
  readonly #liveShare: number
  #bytes = 0
  #reserved = 0
  #reservedBytes = 0
  #lastId = 0
  /** Bytes of an entry that did not fit: nothing else is sent or read before there is room for it. */
  #waitsFor = 0

  constructor(limits: WindowLimits) {
    this.#limits = limits
    this.#liveShare = Math.min(8, Math.floor(limits.messages / 4))
  }

  /** Entries that may be sent or read now. */
  get room(): number {
    const left = this.#limits.messages - this.#liveShare - this.inFlight.size - this.#reserved
    return left > 0 && this.#bytesLeft > 0 && this.#fits(this.#waitsFor) ? left : 0
  }
  #fits(bytes: number): boolean {
    return bytes <= this.#bytesLeft || (this.inFlight.size === 0 && this.#reserved === 0)
  }
  get #bytesLeft(): number {
    return this.#limits.bytes - this.#bytes - this.#reservedBytes
  }

  /** Whether an entry of that size may be sent now; what is reserved for reads is not given away. */
  takes(bytes: number): boolean {
    if (this.room === 0) return false
    const fits = this.#fits(bytes)
    this.#waitsFor = fits ? 0 : bytes
    return fits
  }
  takesLive(): boolean {
    return this.liveRoom > 0
  }
  get liveRoom(): number {
    return Math.max(0, this.#limits.messages - this.inFlight.size)
  }

  /** Sets room aside before a read of so many entries: reads that are under way at once share one window. */
  reserve(wanted: number): { limit: number; maxBytes: number; release: () => void } {
    const limit = Math.max(1, Math.min(wanted, this.room))
    const maxBytes = Math.max(1, Math.min(this.#bytesLeft, limit * 4096))
    this.#reserved += limit
    this.#reservedBytes += maxBytes
    const release = () => {
      this.#reserved -= limit
      this.#reservedBytes -= maxBytes
    }
    return { limit, maxBytes, release }
  }

  /** An id that is not in use [MQTT-2.2.1-3]. */
  freeId(): number {
    do this.#lastId = (this.#lastId % 65_535) + 1
    while (this.inFlight.has(this.#lastId))
    return this.#lastId
  }

  add(packetId: number, flight: Flight | LiveFlight): void {
    this.inFlight.set(packetId, flight)
    this.#bytes += flight.bytes
  }

  remove(packetId: number): Flight | LiveFlight | undefined {
    const flight = this.inFlight.get(packetId)
    if (flight) {
      this.inFlight.delete(packetId)
      this.#bytes -= flight.bytes
    }
    return flight
  }

  /** Where what is in flight of a conversation begins and ends. */
  of(cursor: Cursor): [from: number, to: number][] {
    return [...this.inFlight.values()].flatMap(flight => (flight.cursor === cursor ? [[flight.from, flight.seq]] : []))
  }

  flies(cursor: Cursor, seq: number): boolean {
    for (const flight of this.inFlight.values()) {
      if (flight.cursor === cursor && flight.from <= seq && seq <= flight.seq) return true
    }
    return false
  }
}
