/** What comes to a client: said at once is what it may not get, and in which order not. */
import type { Filters } from './filters.ts'
import type { Flights } from './flights.ts'
import type { Log } from './log.ts'
import type { Flight, Seat } from './seat.ts'
import type { Seats } from './seats.ts'

export interface Received {
  topic: string
  qos: number
  dup: boolean
  id: number
  payload: Buffer
}
/** How something came. */
interface Seen {
  dup: boolean
  /** In place of what retention removed. */
  trimmed: boolean
  says: string
}
/** The session that it comes to. */
interface Needs {
  user: string
  log: Log
  filters: Filters
  seats: Seats
  flights: Flights
  isConnected(): boolean
  wrong(what: string): void
}

export class Arrivals {
  readonly #needs: Needs
  /** The server may have sent what the client did not get. */
  blind = false
  /** The server died with what it knew of the session: all that the client may have had before comes with DUP. */
  torn = false
  #freshCame = false

  constructor(needs: Needs) {
    this.#needs = needs
  }

  connected(): void {
    this.#freshCame = false
  }

  came({ topic, qos, dup, id, payload }: Received): void {
    const { user, filters, seats, flights, isConnected, wrong } = this.#needs
    const entry = JSON.parse(payload.toString()) as Record<string, unknown>
    const conversation = entry.conversation as string
    const gap = entry.kind === 'gap'
    const seq = (gap ? entry.to : entry.seq) as number
    const from = (gap ? entry.from : seq) as number
    const trimmed = entry.reason === 'retention'
    const says = `${gap ? `gap ${from} to` : 'entry'} ${seq} of ${conversation}, id ${id}${dup ? ', DUP' : ''}`
    if (!isConnected()) {
      wrong(`${says} came before CONNACK`)
      return
    }
    if (qos !== 1) wrong(`${says} came at QoS ${qos}`)
    if (flights.here.has(id)) wrong(`${says} came with an id that is in use`)
    if (!filters.topics(user, conversation).includes(topic)) wrong(`${says} came on ${topic}`)
    if (!gap) this.#mustBeStored(conversation, seq, payload, says)
    const seat = seats.get(conversation)
    if (!seat) {
      wrong(`${says} came, and no filter takes it`)
      return
    }
    const known = dup && flights.resent(id, seat, from, seq)
    const flight = known || {
      id,
      conversation,
      from,
      seq,
      gap,
      bytes: payload.length,
      seat,
      here: true,
      acked: false,
      unsure: false,
      optional: seat.optional,
    }
    if (!known) this.#fresh(seat, flight, { dup, trimmed, says })
    flights.came(flight)
    if (flights.here.size > flights.limit) wrong(`${says} is more than the window of ${flights.limit}`)
  }

  #mustBeStored(conversation: string, seq: number, payload: Buffer, says: string): void {
    const { log, user, wrong } = this.#needs
    const stored = log.at(conversation, seq)
    if (!stored || payload.compare(stored.bytes) !== 0) wrong(`${says} is not what is stored`)
    if (seq < log.first(conversation)) wrong(`${says} was removed`)
    if (!log.stay(user, conversation, seq)) wrong(`${says} came to one who was not a member`)
  }

  #fresh(seat: Seat, flight: Flight, { dup, trimmed, says }: Seen): void {
    const { log, flights, wrong } = this.#needs
    const { missing } = flights
    if (missing) wrong(`${says} came before ${missing.seq} of ${missing.conversation}, which is in flight`)
    const mayHave = this.torn || flight.seq <= seat.mayHaveUpTo
    if (dup && !mayHave && (this.#freshCame || !this.blind)) wrong(`${says} was never sent before`)
    if (!dup) {
      this.#freshCame = true
      if (flights.here.size >= flights.room) wrong(`${says} is more than entries have of the window`)
    }
    const { conversation, from, seq } = flight
    const bounds = log.trims.get(conversation) ?? []
    const breach = trimmed
      ? seat.trimmed(from, seq, dup, bounds)
      : flight.gap
        ? seat.gap(from, seq, dup)
        : seat.entry(seq, dup)
    if (breach) wrong(`${says}: ${breach}`)
    flights.add(flight, flight.gap && !trimmed)
  }
}
