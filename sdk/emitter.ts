/** Listeners by the name of an event, typed. Whoever emits may wait for the listeners. */

export type Listener<Event> = (event: Event) => unknown

export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>()
  readonly #failed: (thrown: unknown) => void

  /** `failed` is told what a listener throws or rejects with; the other listeners are called all the same. */
  constructor(failed: (thrown: unknown) => void) {
    this.#failed = failed
  }

  /** Returns a function that ends it. */
  on<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners.add(listener))
    return () => void listeners.delete(listener)
  }

  has(name: keyof Events): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0
  }

  /** Calls the listeners in the order they came. Nothing to wait for if none of them returned a promise. */
  emit<Name extends keyof Events>(name: Name, event: Events[Name]): Promise<void> | undefined {
    const listeners = this.#listeners.get(name)
    if (!listeners) return undefined
    const pending: PromiseLike<unknown>[] = []
    for (const listener of [...listeners] as Listener<Events[Name]>[]) {
      try {
        const result = listener(event)
        if (isPromise(result)) pending.push(result.then(undefined, this.#failed))
      } catch (thrown) {
        this.#failed(thrown)
      }
    }
    return pending.length === 0 ? undefined : Promise.all(pending).then(() => undefined)
  }
}

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
