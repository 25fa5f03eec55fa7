/** A cluster within one process: for a server alone, and for tests of several nodes. Nothing of it is ever away. */
import type { Bus, Cache, Cached, Cluster, Holding, Leases, MergeOutcome, NodeChange } from '../../core/ports.ts'
import { Held } from '../held.ts'
import { call, Listeners } from '../listeners.ts'

/** Keys of the cache; of more, those written longest ago are forgotten. */
const MAX_CACHED = 100_000
const MAX_FIELDS = 1_000

/** What its nodes share. */
export class Hub {
  readonly #nodes = new Set<MemoryNode>()
  readonly #cached = new Map<string, Cached>()

  /** A new node among them, until it is disposed of. */
  join(node: string): Cluster {
    const joined = new MemoryNode(node, this.#nodes, this.#cached)
    for (const other of this.#nodes) other.leases.tell({ came: [node], gone: [] })
    this.#nodes.add(joined)
    return joined
  }
}

class MemoryNode implements Cluster {
  readonly node: string
  readonly bus: MemoryBus
  readonly leases: MemoryLeases
  readonly cache: MemoryCache
  readonly #nodes: Set<MemoryNode>

  constructor(node: string, nodes: Set<MemoryNode>, cached: Map<string, Cached>) {
    this.node = node
    this.#nodes = nodes
    this.bus = new MemoryBus(node, () => [...nodes].filter(other => other !== this).map(other => other.bus))
    this.leases = new MemoryLeases(node, () => [...nodes].map(other => other.leases))
    this.cache = new MemoryCache(cached)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#nodes.delete(this)) return
    for (const other of this.#nodes) other.leases.tell({ came: [], gone: [this.node] })
  }
}

class MemoryBus implements Bus {
  readonly healthy = true
  readonly dropped = 0
  sent = 0
  received = 0
  readonly #node: string
  readonly #others: () => MemoryBus[]
  readonly #listeners = new Listeners<Buffer>()

  constructor(node: string, others: () => MemoryBus[]) {
    this.#node = node
    this.#others = others
  }

  publish(channel: string, message: Uint8Array): void {
    this.sent += 1
    for (const other of this.#others()) setImmediate(() => other.#hear(channel, Buffer.from(message)))
  }
  #hear(channel: string, message: Buffer): void {
    this.received += this.#listeners.tell(channel, message)
  }
  subscribe(channel: string, listener: (message: Buffer) => void): () => void {
    const { remove } = this.#listeners.add(channel, listener)
    return () => void remove()
  }
  async settled(): Promise<void> {}
  /** Nothing is missed. */
  onMissed(): () => void {
    return () => {}
  }
  peers(): { node: string; silentMs: number }[] {
    return this.#others().map(other => ({ node: other.#node, silentMs: 0 }))
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}

class MemoryLeases implements Leases {
  readonly healthy = true
  readonly #node: string
  readonly #all: () => MemoryLeases[]
  readonly #held = new Held()
  readonly #listeners = new Set<{ listener: (change: NodeChange) => void }>()

  constructor(node: string, all: () => MemoryLeases[]) {
    this.#node = node
    this.#all = all
  }

  hold(key: string, value: string, rank = 0): () => void {
    const hold = { value, rank }
    this.#held.add(key, hold)
    return () => void this.#held.remove(key, hold)
  }
  async get(keys: readonly string[]): Promise<Holding[][]> {
    return keys.map(key =>
      this.#all()
        .flatMap(({ name, shown }) => shown(key).map(hold => ({ node: name, ...hold })))
        .sort((a, b) => b.rank - a.rank),
    )
  }
  async nodes(): Promise<string[]> {
    return this.#all()
      .map(({ name }) => name)
      .sort()
  }
  async settled(): Promise<void> {}
  onNodes(listener: (change: NodeChange) => void): () => void {
    const entry = { listener }
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }
  async [Symbol.asyncDispose](): Promise<void> {}

  get name(): string {
    return this.#node
  }
  readonly shown = (key: string) => [this.#held.shown(key) ?? []].flat()
  tell(change: NodeChange): void {
    for (const { listener } of [...this.#listeners]) setImmediate(() => call(listener, change))
  }
}

class MemoryCache implements Cache {
  readonly #keys: Map<string, Cached>

  constructor(keys: Map<string, Cached>) {
    this.#keys = keys
  }

  async merge(key: string, fields: Readonly<Record<string, Uint8Array | string>>, rank: number): Promise<MergeOutcome> {
    if (Object.keys(fields).length > MAX_FIELDS || Object.hasOwn(fields, ''))
      throw new RangeError(`At most ${MAX_FIELDS} fields are merged at once, each with a name.`)
    const there = this.#keys.get(key)
    if (there && there.rank > rank) return 'outranked'
    const buffers = Object.entries(fields).map(([field, value]) => [field, Buffer.from(value as string)] as const)
    this.#put(key, { rank, fields: { ...(there?.rank === rank && there.fields), ...Object.fromEntries(buffers) } })
    return 'kept'
  }
  async read(key: string): Promise<Cached | undefined> {
    return this.#keys.get(key)
  }
  async drop(key: string, rank: number): Promise<MergeOutcome> {
    if ((this.#keys.get(key)?.rank ?? 0) > rank) return 'outranked'
    this.#put(key, { rank, fields: {} })
    return 'kept'
  }
  async [Symbol.asyncDispose](): Promise<void> {}

  #put(key: string, cached: Cached): void {
    this.#keys.delete(key)
    this.#keys.set(key, cached)
    const [oldest] = this.#keys.keys()
    if (this.#keys.size > MAX_CACHED && oldest !== undefined) this.#keys.delete(oldest)
  }
}
