/**
 * What must outlive a client: its client id, how far each conversation was handled, and what waits to be sent.
 * With a store that is kept (a file, localStorage, IndexedDB), exactly-once holds over restarts of the app.
 */

type Awaitable<T> = T | Promise<T>

/** Small texts by key. Writes are called in order; an entry is acknowledged to the server after its write is through. */
export interface Store {
  /** Everything, once, when the client starts. */
  load(): Awaitable<Iterable<readonly [key: string, value: string]>>
  set(key: string, value: string): Awaitable<void>
  delete(key: string): Awaitable<void>
}

/** Forgets with the process. */
export function memoryStore(): Store {
  const rows = new Map<string, string>()
  return {
    load: () => [...rows],
    set: (key, value) => void rows.set(key, value),
    delete: key => void rows.delete(key),
  }
}

/** The part of the browser's Storage that is used. */
interface WebStorage {
  readonly length: number
  key(index: number): string | null
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

/** On `localStorage` (or `sessionStorage`): `webStore(localStorage)`. Give each client of one origin a prefix of its own. */
export function webStore(storage: WebStorage, prefix = 'im:'): Store {
  return {
    load: () =>
      Array.from({ length: storage.length }, (_, i) => storage.key(i))
        .filter(key => key?.startsWith(prefix) === true)
        .map(key => [`${key}`.slice(prefix.length), storage.getItem(`${key}`) ?? ''] as const),
    set: (key, value) => storage.setItem(prefix + key, value),
    delete: key => storage.removeItem(prefix + key),
  }
}

/** The rows of one account in a store that several may share. */
export function storeOf(store: Store, owner: string): Store {
  const prefix = `${owner}/`
  return {
    load: async () => {
      const mine: [string, string][] = []
      for (const [key, value] of await store.load())
        if (key.startsWith(prefix)) mine.push([key.slice(prefix.length), value])
      return mine
    },
    set: (key, value) => store.set(prefix + key, value),
    delete: key => store.delete(prefix + key),
  }
}
