/** The connection for commands: each answers in time or counts as away, and only so many are under way. */
import { Cluster, type Redis } from 'ioredis'
import { backoffMs, dialCommands, PATIENCE_MS } from './dial.ts'
import { SCRIPTS } from './scripts.ts'
import { type Told, Trouble } from './trouble.ts'
import type { Address } from './url.ts'

/** Commands without an answer yet; more are refused as if Redis were away. */
const MAX_UNDER_WAY = 20_000

/** The scripts, as the client has them once they are defined. */
interface Scripted {
  imRenew(key: string, ...more: (string | number)[]): Promise<[living: string[], lapsed: string[], now: number] | null>
  imLiving(key: string): Promise<string[]>
}
export type Client = (Redis | Cluster) & Scripted

export class Commands {
  readonly client: Client
  readonly #trouble: Trouble
  readonly #onReady = new Set<() => void>()
  /** When Redis last answered. */
  answeredAt = Number.NEGATIVE_INFINITY
  #underWay = 0
  #ends = 0
  #reviving: NodeJS.Timeout | undefined

  constructor(address: Address, name: string, tell?: (told: Told) => void) {
    this.#trouble = new Trouble('commands', tell)
    const client = dialCommands(address, name)
    for (const [script, { lua }] of Object.entries(SCRIPTS)) client.defineCommand(script, { numberOfKeys: 1, lua })
    this.client = client as Client
    const ready = () => {
      this.#ends = 0
      this.#trouble.over()
      for (const listener of this.#onReady) listener()
    }
    client.on('error', (error: Error) => this.#trouble.say(error))
    client.on('ready', ready)
    client.on('close', () => this.#trouble.say(new Error('The connection was closed.')))
    client.on('end', this.#revive)
    // One part of a Cluster may come back empty while the rest never went.
    if (client instanceof Cluster)
      client.on('+node', (node: Redis) => node.on('ready', () => client.status === 'ready' && ready()))
  }

  /** Resolves after the first attempt, whatever came of it. */
  async open(): Promise<void> {
    try {
      await within(PATIENCE_MS * 2, this.client.connect())
      // A Cluster's nodes are else connected to one by one, as keys of theirs are met.
      if (this.client instanceof Cluster)
        await within(PATIENCE_MS, Promise.all(this.client.nodes('master').map(node => node.ping())))
    } catch (error) {
      this.#trouble.say(error)
    }
  }

  /** The client gives up for good when a Sentinel tells of a failover while it is connecting. */
  readonly #revive = (): void => {
    this.#reviving = setTimeout(() => this.client.connect().catch(() => {}), backoffMs(this.#ends++))
    this.#reviving.unref()
  }

  get isReady(): boolean {
    return this.client.status === 'ready'
  }

  /** Called each time a connection is there, or one of a Cluster's: what was written before may be gone. */
  onReady(listener: () => void): void {
    this.#onReady.add(listener)
  }

  /** What `work` gives, of `count` commands; `undefined` when Redis is away, silent, or refuses. Never rejects. */
  async ask<T>(count: number, work: (client: Client) => Promise<T>): Promise<T | undefined> {
    if (!this.isReady || this.#underWay + count > MAX_UNDER_WAY) return undefined
    this.#underWay += count
    try {
      // Settled commands alone free their place: one that is late still lies in the client's memory.
      const asked = work(this.client).finally(() => {
        this.#underWay -= count
      })
      const answer = await within(PATIENCE_MS, asked)
      this.answeredAt = performance.now()
      return answer
    } catch (error) {
      if (this.isReady && isRefusal(error)) this.#trouble.say(error)
      return undefined
    }
  }

  close(): void {
    this.#onReady.clear()
    this.client.off('end', this.#revive)
    clearTimeout(this.#reviving)
    this.client.disconnect()
  }
}

/** An answer that was an error: no passing matter, such as a permission that is missing. */
const isRefusal = (error: unknown) => error instanceof Error && error.name === 'ReplyError'

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(reject, ms, new Error(`No answer within ${ms} ms.`))
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
