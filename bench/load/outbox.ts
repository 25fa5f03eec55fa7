/** One lane's messages: encoded once, numbered in place, and what is still expected for each. */
import type { Lane, Options, Target } from '../targets/target.ts'
import { publishPacket } from '../wire/packets.ts'
import type { Wire } from '../wire/wire.ts'
import { numberAt, textOf, writeNumber } from './numbered.ts'

/** Messages under way are found by number modulo this; a packet id is that plus one. */
const SLOTS = 4_096
const DIGITS = 8

/** Ids are new in every run on the same data. */
const RUN = Date.now().toString(36)
let lanes = 0

export class Outbox {
  readonly lane: Lane
  /** Receivers that are online. */
  copies = 0
  sent = 0
  acked = 0
  refused = 0
  underWay = 0
  readonly #wire: Wire
  readonly #packet: Buffer
  readonly #packetIdAt: number
  readonly #numbersAt: number[]
  readonly #numbers = new Int32Array(SLOTS).fill(-1)
  readonly #sentAt = new Float64Array(SLOTS)
  /** Acknowledgement and deliveries that have not come. */
  readonly #expected = new Int32Array(SLOTS)

  constructor(target: Target, lane: Lane, wire: Wire, { version, ids, textBytes }: Options) {
    this.lane = lane
    this.#wire = wire
    const text = textOf(lane.from, textBytes)
    const id = `${RUN}-${lanes++}-${'0'.repeat(DIGITS)}`
    const payload = Buffer.from(JSON.stringify({ type: 'text', text, ...(ids && { clientMessageId: id }) }))
    this.#packet = publishPacket(version, { topic: target.topic(lane), payload, qos: 1, id: 1 })
    const payloadAt = this.#packet.length - payload.length
    this.#packetIdAt = payloadAt - (version === 5 ? 3 : 2)
    this.#numbersAt = [payloadAt + numberAt(payload)]
    if (ids) this.#numbersAt.push(payloadAt + payload.indexOf(id) + id.length - DIGITS)
  }

  send(): void {
    const number = this.sent
    const slot = number % SLOTS
    // The lane waits for a message that has been under way for a whole round of slots.
    if (this.#expected[slot] !== 0) return
    this.sent++
    this.underWay++
    this.#expected[slot] = this.copies + 1
    this.#numbers[slot] = number
    this.#sentAt[slot] = performance.now()
    this.#packet.writeUInt16BE(slot + 1, this.#packetIdAt)
    for (const at of this.#numbersAt) writeNumber(this.#packet, at, number)
    this.#wire.write(this.#packet)
  }

  /** Counts a PUBACK; when it was sent, or nothing for a packet id that is not under way. */
  acknowledged(id: number, code: number): number | undefined {
    this.acked++
    if (code >= 0x80) this.refused++
    return this.#expected[id - 1] === 0 ? undefined : this.#sentAt[id - 1]
  }

  slotOf(number: number): number | undefined {
    const slot = number % SLOTS
    return this.#numbers[slot] === number && this.#expected[slot] !== 0 ? slot : undefined
  }

  sentAt(slot: number): number {
    return this.#sentAt[slot] as number
  }

  /** Takes one expectation off; whether it was the last. */
  settled(slot: number): boolean {
    const left = (this.#expected[slot] as number) - 1
    this.#expected[slot] = left
    if (left !== 0) return false
    this.underWay--
    return true
  }
}
