/**
 * What the others' heartbeats tell: since when a node is silent, and that some of its messages never came. A sender numbers its
 * heartbeats. Redis itself may lose what it carries and tell nobody: nodes of a Cluster that have just found each other again.
 */

/** How often a node says that it is there. */
export const BEAT_MS = 1_000
/** The first heartbeat on a new line is heard by then, or one was lost since. */
const FIRST_WITHIN_MS = BEAT_MS + 100
/** Senders, and nodes, that are told apart; of more, those heard first are forgotten. */
const MAX_KNOWN = 10_000

interface Sender {
  /** The highest that was heard. */
  line: number
  beat: number | undefined
  beatAt: number
}

export class Heartbeats {
  /** When what is listened with was ready; `undefined` while it is not. */
  readonly #upSince: () => number | undefined
  readonly #senders = new Map<string, Sender>()
  readonly #heardAt = new Map<string, number>()
  /** The others that live, and since when that is known. */
  #living = new Map<string, number>()

  constructor(upSince: () => number | undefined) {
    this.#upSince = upSince
  }

  /**
   * Whether a message counts. One from a line that its publisher gave up may come after newer ones: its publisher has told of
   * it as missed.
   */
  takes(sender: string, line: number): boolean {
    const known = this.#senders.get(sender)
    if (known && line < known.line) return false
    if (known) known.line = line
    else remember(this.#senders, sender, { line, beat: undefined, beatAt: Number.NEGATIVE_INFINITY })
    return true
  }

  /** Whether messages of the sender were lost before this one. */
  hear(from: string, beat: number, node: string): boolean {
    const now = performance.now()
    remember(this.#heardAt, node, now)
    const sender = this.#senders.get(from)
    // Sent again: it was not known that it had come.
    if (!sender || (sender.beat !== undefined && beat <= sender.beat)) return false
    const expected = (sender.beat ?? 0) + 1
    const upSince = this.#upSince() ?? now
    // What came while there was no line has been told of as missed.
    const isExcused = sender.beatAt < upSince && now - upSince < FIRST_WITHIN_MS
    sender.beat = beat
    sender.beatAt = now
    return beat > expected && !isExcused
  }

  /** By the leases: all that live but this one. */
  meet(nodes: Iterable<string>): void {
    const now = performance.now()
    this.#living = new Map([...nodes].map(node => [node, this.#living.get(node) ?? now]))
    for (const node of this.#heardAt.keys()) if (!this.#living.has(node)) this.#heardAt.delete(node)
  }

  peers(): { node: string; silentMs: number }[] {
    const now = performance.now()
    return [...this.#living].map(([node, metAt]) => ({
      node,
      silentMs: now - Math.max(metAt, this.#heardAt.get(node) ?? metAt),
    }))
  }
}

function remember<Value>(all: Map<string, Value>, key: string, value: Value): void {
  all.set(key, value)
  const [oldest] = all.keys()
  if (all.size > MAX_KNOWN && oldest !== undefined) all.delete(oldest)
}
