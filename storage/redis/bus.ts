/**
 * The bus on plain pub/sub: one connection that publishes and one that listens. On a Cluster both go to any one of its
 * nodes and the Cluster carries messages between them: docs/decisions/bus.md says why sharded channels are not used.
 */
import { randomBytes } from 'node:crypto'
import type { Bus } from '../../core/ports.ts'
import { Listeners } from '../listeners.ts'
import { readBeat, readFrame } from './frame.ts'
import { BEAT_MS, Heartbeats } from './heartbeats.ts'
import { Publisher } from './publisher.ts'
import { Subscriber } from './subscriber.ts'
import type { Told } from './trouble.ts'
import { type Address, databaseOf } from './url.ts'

/** Before every key and channel. */
export const PREFIX = 'im:'

/** Channels are the same in every database of a Redis. */
const placeOf = (address: Address, prefix: string) => `${prefix}${databaseOf(address)}:`

/** What a channel is called in Redis. */
export const channelsOf =
  (address: Address, prefix = PREFIX) =>
  (channel: string) =>
    `${placeOf(address, prefix)}c:${channel}`

export class RedisBus implements Bus {
  readonly #nameOf: (channel: string) => string
  /** Where a node says that it is there, and that it could not send. */
  readonly #missed: string
  readonly #publisher: Publisher
  readonly #subscriber: Subscriber
  readonly #listeners = new Listeners<Buffer>()
  readonly #onMissed = new Set<() => void>()
  readonly #heartbeats: Heartbeats
  readonly #self = randomBytes(8)
  readonly #node: string
  #beating: NodeJS.Timeout | undefined
  #received = 0

  constructor(address: Address, prefix: string, node: string, tell?: (told: Told) => void) {
    this.#node = node
    this.#nameOf = channelsOf(address, prefix)
    this.#missed = `${placeOf(address, prefix)}!`
    this.#publisher = new Publisher(address, this.#self, this.#missed, tell)
    this.#subscriber = new Subscriber(address, this.#missed, tell, {
      message: (channel, frame) => this.#receive(channel, frame),
      missed: () => this.#tellMissed(),
    })
    this.#heartbeats = new Heartbeats(() => this.#subscriber.upSince)
  }

  /** Resolves after the first attempt to connect, whatever came of it. */
  async open(): Promise<void> {
    this.#beating = setInterval(() => this.#publisher.beat(this.#node), BEAT_MS)
    this.#beating.unref()
    await Promise.all([this.#publisher.link.open(), this.#subscriber.link.open()])
    this.#publisher.beat(this.#node)
  }

  get healthy(): boolean {
    return this.#publisher.link.isUp && this.#subscriber.link.isUp
  }
  get dropped(): number {
    return this.#publisher.dropped
  }
  get sent(): number {
    return this.#publisher.sent
  }
  get received(): number {
    return this.#received
  }
  /** When Redis last answered. */
  get answeredAt(): number {
    return this.#publisher.answeredAt
  }

  /** By the leases: all that live but this one. */
  meet(nodes: Iterable<string>): void {
    this.#heartbeats.meet(nodes)
  }
  peers(): { node: string; silentMs: number }[] {
    return this.#heartbeats.peers()
  }

  publish(channel: string, message: Uint8Array): void {
    this.#publisher.publish(this.#nameOf(channel), message)
  }

  subscribe(channel: string, listener: (message: Buffer) => void): () => void {
    const name = this.#nameOf(channel)
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
    if (!this.#heartbeats.takes(read.sender, read.line)) return
    if (channel !== this.#missed) this.#received += this.#listeners.tell(channel, read.message)
    else if (read.message.length === 0) this.#tellMissed()
    else this.#hear(read.sender, read.message)
  }

  #hear(sender: string, message: Buffer): void {
    const beat = readBeat(message)
    if (beat && this.#heartbeats.hear(sender, beat.number, beat.node)) this.#tellMissed()
  }

  #tellMissed(): void {
    for (const listener of [...this.#onMissed]) listener()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#beating)
    this.#publisher.close()
    this.#subscriber.close()
  }
}
