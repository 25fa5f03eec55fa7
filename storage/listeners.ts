/** Who listens to what. A listener that throws keeps no other from hearing. */

export class Listeners<Message> {
  readonly #of = new Map<string, Set<Entry<Message>>>()

  /** Whether it is the first of its channel. */
  add(channel: string, listener: (message: Message) => void): { first: boolean; remove: () => boolean } {
    const entry = { listener }
    const there = this.#of.get(channel)
    if (there) there.add(entry)
    else this.#of.set(channel, new Set([entry]))
    return { first: !there, remove: () => this.#remove(channel, entry) }
  }

  /** Whether anybody listens: 1 or 0. */
  tell(channel: string, message: Message): 0 | 1 {
    const there = this.#of.get(channel)
    for (const { listener } of [...(there ?? [])]) call(listener, message)
    return there ? 1 : 0
  }

  /** Whether it was the last of its channel. */
  #remove(channel: string, entry: Entry<Message>): boolean {
    const there = this.#of.get(channel)
    if (!there?.delete(entry) || there.size > 0) return false
    return this.#of.delete(channel)
  }
}

/** An object of its own for each, so that a function that listens twice hears twice. */
interface Entry<Message> {
  listener: (message: Message) => void
}

/** Its throw is a bug of the listener, and shown as one, in a turn of its own. */
export function call<Message>(listener: (message: Message) => void, message: Message): void {
  try {
    listener(message)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
