/**
 * Up to where the record changes that go with the entries of one conversation are made, as far as this node knows: of its own it
 * does, the others say so. It is written down behind them, and who looks at the end makes what is behind that again. Where nobody
 * says, as whoever appended has died, it is made here.
 */
import type { ConversationKey } from '../../core/ports.ts'
import { markSettled } from './ends.ts'
import type { Shared } from './log.ts'
import { pauseOf } from './pauses.ts'

/** From the first entry to the last. */
export type Span = readonly [from: number, to: number]

/** What is missing is waited for so long. */
const GAP_MS = 1_000
/** Spans that are kept behind what is missing; of more, nothing is known. */
const SPANS = 100

export class Settling {
  readonly #shared: Shared
  readonly #conversation: ConversationKey
  #known = 0
  /** What is written down of it. */
  #marked = 0
  /** Made, with something missing before. */
  #spans: Span[] = []
  #marking: Promise<void> | undefined
  #waits = false

  constructor(shared: Shared, conversation: ConversationKey) {
    this.#shared = shared
    this.#conversation = conversation
  }

  /** Resolves when what is known is written down. */
  async idle(): Promise<void> {
    await this.#marking
  }

  /** Everything up to there is, and it is written down. */
  reached(seq: number): void {
    this.#marked = Math.max(this.#marked, seq)
    this.#add([0, seq])
    this.#write()
  }

  /** By another node, which writes down what it knows. */
  said(span: Span): void {
    this.#add(span)
    if (this.#known > span[1]) this.#write()
  }

  /** By this one. */
  made(span: Span): void {
    this.#add(span)
    this.#write()
    if (this.#spans.length > 0 && !this.#waits) void this.#waitFor()
  }

  #write(): void {
    if (this.#known > this.#marked) this.#marking ??= this.#mark()
  }

  #add(span: Span): void {
    this.#spans.push(span)
    for (let at = 0; at !== -1; ) {
      at = this.#spans.findIndex(([from]) => from <= this.#known + 1)
      if (at !== -1) this.#known = Math.max(this.#known, ...this.#spans.splice(at, 1).map(([, to]) => to))
    }
    if (this.#spans.length > SPANS) this.#spans.shift()
  }

  async #mark(): Promise<void> {
    const { ring, pause, closed } = this.#shared
    for (let tries = 0; this.#known > this.#marked; ) {
      const known = this.#known
      try {
        await ring.write([markSettled(this.#conversation, known)])
        this.#marked = Math.max(this.#marked, known)
      } catch {
        if (!closed()) await pause(pauseOf(tries++))
      }
      // What others go on with is theirs to write.
      if (closed()) break
    }
    this.#marking = undefined
  }

  /** One wait at a time, as long as something is missing. */
  async #waitFor(): Promise<void> {
    const { ends, pause, closed } = this.#shared
    this.#waits = true
    for (let tries = 0; this.#spans.length > 0; ) {
      const known = this.#known
      await pause(GAP_MS)
      if (closed()) return
      if (this.#known > known) continue
      try {
        const end = await ends.find(this.#conversation)
        await this.#shared.settle(this.#conversation, end)
        this.reached(end.seq)
      } catch {
        await pause(pauseOf(tries++))
      }
    }
    this.#waits = false
  }
}
