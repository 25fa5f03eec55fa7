/** Connections: bytes arrive in order, late, in pieces of any size, or not at all; two connections overtake each other. */
import { Duplex } from 'node:stream'
import type { Chance } from '../support/proof.ts'
import type { Life } from './turns.ts'

/** One end. What is written to it arrives at the other. */
class End extends Duplex {
  other!: End
  readonly #life: Life
  readonly #chance: Chance
  /** Written here and not arrived there. */
  #under: { bytes: Buffer; done: () => void }[] = []
  #moving = false
  /** Nothing moves either way, and neither side is told. */
  dead = false
  /** When what was written here was: up to which byte, and when. */
  readonly #handed: { end: number; at: number }[] = []
  #written = 0
  #arrived = 0

  constructor(life: Life, chance: Chance) {
    super({ allowHalfOpen: true, emitClose: true, writableHighWaterMark: chance.of([100, 16_384]) })
    this.#life = life
    this.#chance = chance
  }

  override write(chunk: Uint8Array, ...more: unknown[]): boolean {
    this.#written += chunk.length
    this.#handed.push({ end: this.#written, at: this.#life.now() })
    return (super.write as (chunk: Uint8Array, ...more: unknown[]) => boolean)(chunk, ...more)
  }
  /** When the byte was handed over that came so many bytes before the last that arrived. */
  handedAt(before: number): number {
    const end = this.#arrived - before
    while (this.#handed.length > 1 && (this.#handed[0]?.end ?? 0) < end) this.#handed.shift()
    return this.#handed[0]?.at ?? this.#life.now()
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#under.push({ bytes: chunk, done })
    this.#move()
  }
  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#under.push({ bytes: Buffer.concat(chunks.map(({ chunk }) => chunk)), done })
    this.#move()
  }
  override _final(done: () => void): void {
    this.#under.push({ bytes: Buffer.alloc(0), done })
    this.#move()
  }
  override _read(): void {}

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#under = []
    done(error)
    if (!this.dead) this.#life.soon(() => this.other.destroy())
  }

  #move(): void {
    if (this.#moving || this.dead || this.#under.length === 0) return
    this.#moving = true
    this.#life.soon(() => {
      this.#moving = false
      const first = this.#under[0]
      if (!first || this.dead || this.other.destroyed) return
      const { bytes } = first
      // Sometimes only a part arrives.
      const part =
        bytes.length > 1 && this.#chance.below(8) === 0 ? 1 + this.#chance.below(bytes.length - 1) : bytes.length
      if (part < bytes.length) first.bytes = bytes.subarray(part)
      else this.#under.shift()
      this.#arrived += part
      this.other.push(bytes.length === 0 ? null : bytes.subarray(0, part))
      if (part === bytes.length) first.done()
      this.#move()
    })
  }
}

export interface Line {
  client: Duplex
  server: Duplex
  /** When the server handed over the byte that came so many bytes before the last that the client got. */
  handedAt(before: number): number
  /** Ends it; each side hears of it in its time, and what was under way is gone. */
  cut(): void
  /** No byte moves any more, and nobody is told. */
  freeze(): void
}

/** A connection between a client and a server; `life` is the network's. */
export function line(life: Life, chance: Chance): Line {
  const client = new End(life, chance)
  const server = new End(life, chance)
  client.other = server
  server.other = client
  client.on('error', () => {})
  return {
    client,
    server,
    handedAt: before => server.handedAt(before),
    cut() {
      life.soon(() => client.destroy())
      life.soon(() => server.destroy())
    },
    freeze() {
      client.dead = true
      server.dead = true
    },
  }
}
