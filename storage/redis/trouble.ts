/** What is told of a connection that fails: once when it begins and once when it is over, in a sentence without secrets. */

export type Part = 'commands' | 'publisher' | 'subscriber'
export interface Told {
  part: Part
  state: 'away' | 'back'
  /** Why, for `away`. */
  says?: string
}

export class Trouble {
  readonly #part: Part
  readonly #tell: (told: Told) => void
  #isAway = false

  constructor(part: Part, tell: (told: Told) => void = () => {}) {
    this.#part = part
    this.#tell = tell
  }

  /** Errors of the client carry the refused command with its arguments, of AUTH too: only their message goes on. */
  say(error: unknown): void {
    if (this.#isAway) return
    this.#isAway = true
    const says = error instanceof Error && error.message ? error.message : 'The connection failed.'
    this.#tell({ part: this.#part, state: 'away', says: says.slice(0, 200) })
  }

  over(): void {
    if (!this.#isAway) return
    this.#isAway = false
    this.#tell({ part: this.#part, state: 'back' })
  }
}

/** Counts outages: from the first connection that goes to the last that is back. */
export class Outages {
  readonly #tell: (told: Told) => void
  readonly #away = new Set<Part>()
  #count = 0

  constructor(tell: (told: Told) => void = () => {}) {
    this.#tell = tell
  }

  get count(): number {
    return this.#count
  }

  say(told: Told): void {
    if (told.state === 'back') this.#away.delete(told.part)
    else {
      if (this.#away.size === 0) this.#count += 1
      this.#away.add(told.part)
    }
    this.#tell(told)
  }
}
