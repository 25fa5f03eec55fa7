/**
 * The bus on plain pub/sub: one connection that publishes and one that listens. On a Cluster both go to any one of its
 * nodes and the Cluster carries messages between them: docs/decisions/bus.md says why sharded channels are not used.
 */
import { randomBytes } from 'node:crypto'
import type { Bus } from '../../core/ports.ts'
import { Listeners } from '../listeners.ts'
import { readFrame } from './frame.ts'
import { Publisher } from './publisher.ts'
import { Subscriber } from './subscriber.ts'
import type { Told } from './trouble.ts'
import { type Address, databaseOf } from './url.ts'

/** Publishers that are told apart; of more, those heard first are forgotten. */
const MAX_KNOWN = 10_000

export class RedisBus implements Bus {
  readonly #prefix: string
  /** Where a node that could not send says so. */
  readonly #missed: string
  readonly #publisher: Publisher
  readonly #subscriber: Subscriber
  readonly #listeners = new Listeners<Buffer>()
  readonly #onMissed = new Set<() => void>()
  /** The highest line of each publisher that was heard. */
  readonly #known = new Map<string, number>()
  readonly #self = randomBytes(8)

  constructor(address: Address, prefix: string, tell?: (told: Told) => void) {
    // Channels are the same in every database of a Redis.
    this.#prefix = `${prefix}${databaseOf(address)}:`
    this.#missed = `${this.#prefix}!`
    this.#publisher = new Publisher(address, this.#self, this.#missed, tell)
    this.#subscriber = new Subscriber(address, this.#missed, tell, {
      message: (channel, frame) => this.#receive(channel, frame),
      missed: () => this.#tellMissed(),
    })
  }

  /** Resolves after the first attempt to connect, whatever came of it. */
  async open(): Promise<void> {
    await Promise.all([this.#publisher.link.open(), this.#subscriber.link.open()])
  }

  get healthy(): boolean {
    return this.#publisher.link.isUp && this.#subscriber.link.isUp
  }
  get dropped(): number {
    return this.#publisher.dropped
  }

  publish(channel: string, message: Uint8Array): void {
    this.#publisher.publish(`${this.#prefix}c:${channel}`, message)
  }

  subscribe(channel: string, listener: (message: Buffer) => void): () => void {
    const name = `${this.#prefix}c:${channel}`
    const { first, remove } = this.#listeners.add(name, listener)
    if (first) this.#subscriber.want(name, true)
    return () => void (remove() && this.#subscriber.want(name, false))
  }

  settled(): Promise<void> {
    return this.#subscriber.settled()
  }

  onMissed(listener: () => void): () => void {
    const own = () => listener()
    this.#onMissed.add(own)
    return () => void this.#onMissed.delete(own)
  }

  #receive(channel: string, frame: Buffer): void {
    const read = readFrame(frame)
    if (!read || read.sender === this.#self.toString('latin1')) return
    // A message from a line that its publisher gave up may come after newer ones. Its publisher has told of it as missed.
    const newest = this.#known.get(read.sender)
    if (newest !== undefined && read.line < newest) return
    if (newest !== read.line) this.#know(read.sender, read.line)
    if (channel === this.#missed) this.#tellMissed()
    else this.#listeners.tell(channel, read.message)
  }

  #know(sender: string, line: number): void {
    this.#known.set(sender, line)
    const [oldest] = this.#known.keys()
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest)
  }

  #tellMissed(): void {
    for (const listener of [...this.#onMissed]) listener()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#publisher.close()
    this.#subscriber.close()
  }
}
