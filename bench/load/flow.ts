/**
 * Messages under way. A message is complete when its sender has the acknowledgement and everybody in the conversation,
 * the sender too, has received it; then the next one of its lane may go.
 */
import { sleep } from '../machine.ts'
import type { Lane, Options, Target } from '../targets/target.ts'
import type { View, Wire } from '../wire/wire.ts'
import { Histogram } from './histogram.ts'
import { Reader } from './numbered.ts'
import { Outbox } from './outbox.ts'
import { Sequence } from './sequence.ts'

/** Without progress for this long, what is missing counts as lost. */
const PATIENCE_MS = 5_000

/** What went wrong; every count must be zero. */
export interface Verdict {
  lost: number
  doubled: number
  reordered: number
  unacknowledged: number
  refused: number
  strayed: number
  disconnected: number
}

export class Flow {
  completed = 0
  received = 0
  readonly acknowledgement = new Histogram()
  readonly delivery = new Histogram()
  readonly #outboxes: Outbox[]
  readonly #bySender = new Map<number, Outbox>()
  /** Of each receiver: what came of each sender. */
  readonly #inboxes = new Map<number, Map<number, Sequence>>()
  readonly #reader = new Reader()
  #sending = false
  #strayed = 0
  #disconnected = 0
  /** Messages that a lane has under way at a time; no bound when paced. */
  readonly #window: number

  constructor(target: Target, wires: Map<number, Wire>, lanes: readonly Lane[], window: number, options: Options) {
    this.#window = window
    this.#outboxes = lanes.map(lane => new Outbox(target, lane, wires.get(lane.from) as Wire, options))
    for (const outbox of this.#outboxes) this.#bySender.set(outbox.lane.from, outbox)
    for (const lane of lanes) for (const person of lane.audience) if (wires.has(person)) this.#expect(person, lane.from)
    for (const [person, wire] of wires) this.#listen(person, wire)
  }

  #expect(receiver: number, sender: number): void {
    const inbox = this.#inboxes.get(receiver) ?? new Map<number, Sequence>()
    this.#inboxes.set(receiver, inbox.set(sender, new Sequence()))
    const outbox = this.#bySender.get(sender) as Outbox
    outbox.copies++
  }

  #listen(person: number, wire: Wire): void {
    const outbox = this.#bySender.get(person)
    wire.ears = {
      publish: view => this.#publish(person, view),
      ack: (_type, id, code) => {
        const sentAt = outbox?.acknowledged(id, code)
        if (sentAt === undefined || !outbox) return
        this.acknowledgement.add(performance.now() - sentAt)
        this.#progress(outbox, id - 1)
      },
      closed: () => {
        this.#disconnected++
      },
    }
  }

  #publish(person: number, { buffer, payloadStart, payloadEnd }: View): void {
    const reader = this.#reader
    if (!reader.read(buffer, payloadStart, payloadEnd)) return
    const sequence = this.#inboxes.get(person)?.get(reader.sender)
    const outbox = this.#bySender.get(reader.sender)
    if (!sequence || !outbox) {
      this.#strayed++
      return
    }
    if (!sequence.take(reader.number)) return
    this.received++
    const slot = outbox.slotOf(reader.number)
    if (slot === undefined) return
    if (person !== reader.sender) this.delivery.add(performance.now() - outbox.sentAt(slot))
    this.#progress(outbox, slot)
  }

  #progress(outbox: Outbox, slot: number): void {
    if (!outbox.settled(slot)) return
    this.completed++
    if (this.#sending && this.#window > 0) outbox.send()
  }

  /** Every lane keeps its window full from now on. */
  run(): void {
    this.#sending = true
    for (const outbox of this.#outboxes) for (let i = 0; i < this.#window; i++) outbox.send()
  }

  /** Sends so many messages a second over all lanes, in turn, however long their answers take. */
  pace(perSecond: number): void {
    this.#sending = true
    const startedAt = performance.now()
    let sent = 0
    const tick = () => {
      if (!this.#sending) return
      const due = ((performance.now() - startedAt) * perSecond) / 1_000
      for (; sent < due; sent++) this.#outboxes[sent % this.#outboxes.length]?.send()
      setTimeout(tick, 1)
    }
    tick()
  }

  /** Forgets times and counts so far; what is missing or doubled stays known. */
  measureFromNow(): void {
    this.completed = 0
    this.received = 0
    this.acknowledgement.clear()
    this.delivery.clear()
  }

  /** Sends no more, and waits for what is under way. */
  async stop(): Promise<void> {
    this.#sending = false
    let last = -1
    let idleMs = 0
    while (this.#outboxes.some(outbox => outbox.underWay > 0) && idleMs < PATIENCE_MS) {
      await sleep(10)
      idleMs = last === this.received ? idleMs + 10 : 0
      last = this.received
    }
    // A double that comes late must still be seen.
    await sleep(100)
  }

  verdict(): Verdict {
    const sequences = [...this.#inboxes].flatMap(([, inbox]) => [...inbox])
    const sum = (of: (sequence: Sequence, sent: number) => number) =>
      sequences.reduce((total, [sender, it]) => total + of(it, this.#bySender.get(sender)?.sent ?? 0), 0)
    const overLanes = (of: (outbox: Outbox) => number) => this.#outboxes.reduce((total, it) => total + of(it), 0)
    return {
      lost: sum((it, sent) => it.lost(sent)),
      doubled: sum(it => it.doubled),
      reordered: sum(it => it.reordered),
      unacknowledged: overLanes(it => it.sent - it.acked),
      refused: overLanes(it => it.refused),
      strayed: this.#strayed,
      disconnected: this.#disconnected,
    }
  }
}
