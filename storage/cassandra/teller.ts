/** Tells followers of the entries of one conversation in order, each once, whoever appended them: what is missing is read. */
import type { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey } from '../../core/ports.ts'
import type { Seq } from '../../protocol/ids.ts'
import type { Shared } from './log.ts'

const PAGE = 500
const AGAIN_MS = 500

export class Teller {
  readonly #shared: Shared
  readonly #conversation: ConversationKey
  /** Every entry up to here was told, or was there before anyone wanted to be told. */
  #told = 0
  #work: Promise<void> | undefined
  /** Counts what was forgotten: work that began before is not gone on with. */
  #life = 0

  constructor(shared: Shared, conversation: ConversationKey) {
    this.#shared = shared
    this.#conversation = conversation
  }

  begin(at: number): void {
    this.#told = Math.max(this.#told, at)
  }
  forget(): void {
    this.#told = 0
    this.#life++
    this.#work = undefined
  }
  async idle(): Promise<void> {
    await this.#work
  }

  /** Entries without gaps between them. At once, unless some before them were not told. */
  tell(entries: readonly StoredEntry[], elsewhere?: true): Promise<void> | undefined {
    const [first] = entries
    if (!first) return undefined
    if (!this.#work && first.seq <= this.#told + 1) {
      this.#tellNew(entries, elsewhere)
      return undefined
    }
    return this.#then(async () => {
      await this.#readUpTo(first.seq - 1)
      this.#tellNew(entries, elsewhere)
    })
  }

  /** Everything up to there. */
  async reach(seq: number): Promise<void> {
    if (this.#work || seq > this.#told) await this.#then(() => this.#readUpTo(seq))
  }

  #then(work: () => Promise<void>): Promise<void> {
    const life = this.#life
    const mine = (this.#work ?? Promise.resolve()).then(() => (life === this.#life ? work() : undefined))
    this.#work = mine
    void mine.finally(() => {
      if (this.#work === mine) this.#work = undefined
    })
    return mine
  }

  #tellNew(entries: readonly StoredEntry[], elsewhere?: true): void {
    for (const entry of entries) {
      if (entry.seq <= this.#told) continue
      this.#told = entry.seq
      this.#shared.tell(this.#conversation, entry, elsewhere)
    }
  }

  /** Tried until it can be read: what comes after must not be told before. */
  async #readUpTo(seq: number): Promise<void> {
    const { pause, closed } = this.#shared
    const life = this.#life
    while (this.#told < seq && life === this.#life && !closed()) {
      const range = { after: this.#told as Seq, before: (seq + 1) as Seq, limit: PAGE }
      const entries = await this.#shared.read(this.#conversation, range).catch(() => undefined)
      if (life !== this.#life) return
      if (!entries) await pause(AGAIN_MS)
      else if (entries.length > 0) this.#tellNew(entries, true)
      // What retention has removed is told nobody.
      else this.#told = seq
    }
  }
}
