/** One file: what of it is synced, what was written since, and what a power cut may make of the two. */
import type { Chance } from '../support/proof.ts'

type Change = { at: number; bytes: Buffer } | { size: number }

/** Bytes of a sector of the disk, or of a page of the system: written as a whole or not at all. */
const SECTORS = [512, 4096] as const

/** Bytes that grow. */
class Image {
  #room: Buffer
  #size: number

  constructor(bytes: Buffer = Buffer.alloc(0)) {
    this.#room = Buffer.from(bytes)
    this.#size = bytes.length
  }
  get bytes(): Buffer {
    return this.#room.subarray(0, this.#size)
  }
  /** A file that grows is filled with zeros. */
  apply(changes: readonly Change[]): this {
    for (const change of changes) {
      this.#resize('size' in change ? change.size : Math.max(this.#size, change.at + change.bytes.length))
      if ('bytes' in change) this.#room.set(change.bytes, change.at)
    }
    return this
  }
  #resize(size: number): void {
    if (size > this.#room.length) {
      const room = Buffer.alloc(Math.max(size, 2 * this.#room.length))
      room.set(this.bytes)
      this.#room = room
    }
    if (size < this.#size) this.#room.fill(0, size, this.#size)
    this.#size = size
  }
}

export class Content {
  readonly #kept = new Image()
  /** Since the last sync. */
  #changes: Change[] = []
  /** Changes that were ever kept. */
  #gone = 0

  write(at: number, bytes: Buffer): void {
    this.#changes.push({ at, bytes })
  }
  truncate(size: number): void {
    this.#changes.push({ size })
  }

  /** What a sync that begins now will keep; `keep` is its end. */
  mark(): number {
    return this.#gone + this.#changes.length
  }
  keep(mark: number): void {
    if (mark <= this.#gone) return
    this.#kept.apply(this.#changes.splice(0, mark - this.#gone))
    this.#gone = mark
  }

  synced(): Buffer {
    return this.#kept.bytes
  }
  /** As the process sees it. */
  now(): Buffer {
    return this.#with(this.#changes)
  }
  #with(changes: readonly Change[]): Buffer {
    return new Image(this.synced()).apply(changes).bytes
  }

  /** A prefix of what was written since the sync, that ends at any byte or at the edge of a sector. */
  torn(chance: Chance, sector: number): Buffer {
    const whole = chance.below(this.#changes.length + 1)
    const changes = this.#changes.slice(0, whole)
    const last = this.#changes[whole]
    if (last && 'bytes' in last) {
      const end = last.at + chance.below(last.bytes.length + 1)
      const edge = sector === 1 ? end : end - (end % sector)
      if (edge > last.at) changes.push({ at: last.at, bytes: last.bytes.subarray(0, edge - last.at) })
    }
    return this.#with(changes)
  }

  /** All of it, but for some sectors, which are as they were at the sync: zeros, where the file has grown since. */
  holed(chance: Chance, sector: number): Buffer {
    const now = this.now()
    const before = this.synced()
    const share = chance.of([0.05, 0.3, 0.7])
    const first = this.#changes.reduce((least, change) => Math.min(least, 'at' in change ? change.at : 0), now.length)
    for (let at = first - (first % sector); at < now.length; at += sector) {
      if (!chance.happens(share)) continue
      const end = Math.min(at + sector, now.length)
      now.fill(0, at, end)
      if (at < before.length) before.copy(now, at, at, Math.min(end, before.length))
    }
    return now
  }

  /** What a power cut leaves; `holes`: sectors may have reached the disk in any order. */
  afterCut(chance: Chance, holes: boolean): Buffer {
    if (this.#changes.length === 0) return this.synced()
    const what = chance.below(holes ? 6 : 4)
    if (what === 0) return this.synced()
    if (what === 1) return this.now()
    if (what === 2) return this.torn(chance, 1)
    if (what === 3) return this.torn(chance, chance.of(SECTORS))
    return this.holed(chance, chance.of(SECTORS))
  }
}
