/**
 * `Idempotency-Key`: a POST that is repeated with the same key within 24 hours gets the answer of the first, and is not
 * done again. Kept in memory, at most 10,000 answers and 16 MiB, the oldest dropped first; a restart forgets them.
 * Sends do not need it: there a clientMessageId serves, and is kept durably.
 */
import { createHash } from 'node:crypto'
import type { Caller } from '../core/caller.ts'
import { Fault } from '../protocol/faults.ts'
import { type OperationName, rowOf } from '../protocol/operations.ts'

export interface Kept {
  status: number
  body?: Buffer
}
interface Slot {
  /** SHA-256 of the request: another request under the same key is refused. */
  request: string
  answer: Promise<Kept>
  until: number
  bytes: number
}

const KEEP_MS = 24 * 3_600_000
const MAX_SLOTS = 10_000
const MAX_BYTES = 16 * 1024 * 1024
/** A larger answer is not kept. */
const MAX_ANSWER_BYTES = 64 * 1024

const malformed = (message: string) => new Fault('malformed', { issues: [{ path: ['Idempotency-Key'], message }] })

export class Answers {
  readonly #slots = new Map<string, Slot>()
  readonly #now: () => number
  #bytes = 0

  constructor(now: () => number) {
    this.#now = now
  }

  /** How to do this request once; nothing where the key does not apply. @throws Fault `malformed` */
  slot(name: OperationName, caller: Caller, key: string, body: unknown, params: unknown) {
    if (key === '' || caller.kind === 'nobody' || !rowOf(name).rest.startsWith('POST')) return undefined
    if (!/^[\x20-\x7e]{1,255}$/.test(key)) throw malformed('It takes 1 to 255 ASCII characters.')
    const id = JSON.stringify([caller.app, caller.member, name, key])
    const request = createHash('sha256')
      .update(JSON.stringify([params, body]))
      .digest('base64')
    const found = this.#found(id)
    if (found && found.request !== request) throw malformed('It was used for a different request.')
    return (act: () => Promise<Kept>): Promise<Kept> => this.#found(id)?.answer ?? this.#start(id, request, act)
  }

  #found(id: string): Slot | undefined {
    const slot = this.#slots.get(id)
    if (slot && slot.until <= this.#now()) this.#drop(id, slot)
    else return slot
    return undefined
  }

  /** A refusal is not kept: it may be tried again. */
  #start(id: string, request: string, act: () => Promise<Kept>): Promise<Kept> {
    const slot: Slot = { request, answer: act(), until: this.#now() + KEEP_MS, bytes: 0 }
    this.#slots.set(id, slot)
    slot.answer.then(
      kept => this.#keep(id, slot, kept.body?.length ?? 0),
      () => this.#drop(id, slot),
    )
    this.#shrink()
    return slot.answer
  }

  #keep(id: string, slot: Slot, bytes: number): void {
    if (this.#slots.get(id) !== slot) return
    slot.bytes = bytes
    this.#bytes += bytes
    if (bytes > MAX_ANSWER_BYTES) this.#drop(id, slot)
    this.#shrink()
  }

  #drop(id: string, slot: Slot): void {
    if (this.#slots.get(id) !== slot) return
    this.#slots.delete(id)
    this.#bytes -= slot.bytes
  }

  #shrink(): void {
    for (const [id, slot] of this.#slots) {
      if (this.#slots.size <= MAX_SLOTS && this.#bytes <= MAX_BYTES) return
      this.#drop(id, slot)
    }
  }
}
