/** A cluster within one process: for a server alone, and for tests of several nodes. Nothing of it is ever away. */
import type { Bus, Cluster, Holding, Leases, NodeChange } from '../../core/ports.ts'
import { Held } from '../held.ts'
import { call, Listeners } from '../listeners.ts'

/** What its nodes share. */
export class Hub {
  readonly #nodes = new Set<MemoryNode>()

  /** A new node among them, until it is disposed of. */
  join(node: string): Cluster {
    const joined = new MemoryNode(node, this.#nodes)
    for (const other of this.#nodes) other.leases.tell({ came: [node], gone: [] })
    this.#nodes.add(joined)
    return joined
  }
}

class MemoryNode implements Cluster {
  readonly node: string
  readonly bus: MemoryBus
  readonly leases: MemoryLeases
  readonly #nodes: Set<MemoryNode>

  constructor(node: string, nodes: Set<MemoryNode>) {
    this.node = node
    this.#nodes = nodes
    this.bus = new MemoryBus(node, () => [...nodes].filter(other => other !== this).map(other => other.bus))
    this.leases = new MemoryLeases(node, () => [...nodes].map(other => other.leases))
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
