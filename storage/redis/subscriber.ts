/** The listening half of the bus: keeps one connection subscribed to what is wanted, and tells when some may be missing. */
import type { Redis } from 'ioredis'
import { dialOnce } from './dial.ts'
import { Link } from './link.ts'
import { Places } from './places.ts'
import { type Told, Trouble } from './trouble.ts'
import type { Address } from './url.ts'

/** How often a silent line is asked whether it is there. */
const PING_MS = 2_000
/** Channels in one command. */
const AT_ONCE = 1_000

export interface SubscriberEnds {
  message(channel: string, frame: Buffer): void
  missed(): void
}

export class Subscriber {
  readonly link: Link
  readonly #ends: SubscriberEnds
  readonly #always: string
  readonly #wanted = new Set<string>()
  /** What this line was asked to listen to. */
  readonly #asked = new Set<string>()
  readonly #changed = new Set<string>()
  /** When this line was ready with all that was wanted. */
  upSince: number | undefined
  #redis: Redis | undefined
  #pinging: NodeJS.Timeout | undefined
  /** Ends when all changes handed over so far are done, or their line is. */
  #done: Promise<void> = Promise.resolve()
  /** A line was lost, or something wanted while there was none. */
  #misses = false

  /** `always` is a channel that is listened to whatever else is wanted. */
  constructor(address: Address, always: string, tell: ((told: Told) => void) | undefined, ends: SubscriberEnds) {
    this.#always = always
    this.#wanted.add(always)
    this.#ends = ends
    const places = new Places(address)
    this.link = new Link(() => dialOnce(address, 'im-subscriber', places.next()), new Trouble('subscriber', tell), {
      up: redis => this.#up(redis, places),
      down: () => this.#down(),
    })
  }

  want(channel: string, wanted: boolean): void {
    if (wanted) this.#wanted.add(channel)
    else this.#wanted.delete(channel)
    if (!this.#redis) {
      this.#misses ||= wanted
      return
    }
    this.#changed.add(channel)
    if (this.#changed.size === 1) this.#done = this.#soon(this.#done)
  }

  async settled(): Promise<void> {
    await this.#done
  }

  async #soon(before: Promise<void>): Promise<void> {
    await new Promise(resolve => setImmediate(resolve))
    const flushed = this.#flush()
    await before
    await flushed
  }

  async #up(redis: Redis, places: Places): Promise<void> {
    await places.learn(redis)
    redis.on('messageBuffer', (channel: Buffer, frame: Buffer) => this.#ends.message(channel.toString(), frame))
    this.#redis = redis
    this.#asked.clear()
    for (const channel of this.#wanted) this.#changed.add(channel)
    const flushed = this.#flush()
    this.#done = flushed
    await flushed
    if (redis !== this.#redis) return
    this.upSince = performance.now()
    this.#pinging = setInterval(() => redis.ping().catch(() => this.#fail(redis)), PING_MS)
    this.#pinging.unref()
    const misses = this.#misses
    this.#misses = false
    if (misses) this.#ends.missed()
  }

  #fail(redis: Redis): void {
    if (redis === this.#redis) this.link.drop('Redis refused or did not answer the subscriber.')
  }

  /** Never rejects: a command that fails ends the line, and the next one asks anew. */
  async #flush(): Promise<void> {
    const redis = this.#redis
    if (!redis) return
    const changed = [...this.#changed]
    this.#changed.clear()
    const more = changed.filter(channel => this.#wanted.has(channel) && !this.#asked.has(channel))
    const fewer = changed.filter(channel => !this.#wanted.has(channel) && this.#asked.has(channel))
    for (const channel of more) this.#asked.add(channel)
    for (const channel of fewer) this.#asked.delete(channel)
    try {
      await Promise.all([
        ...inParts(more, part => redis.subscribe(...part)),
        ...inParts(fewer, part => redis.unsubscribe(...part)),
      ])
    } catch {
      this.#fail(redis)
    }
  }

  #down(): void {
    clearInterval(this.#pinging)
    this.#redis = undefined
    this.upSince = undefined
    this.#changed.clear()
    this.#misses ||= [...this.#wanted].some(channel => channel !== this.#always)
  }

  close(): void {
    this.link.close()
    this.#down()
  }
}

function inParts<T>(channels: string[], send: (part: string[]) => Promise<T>): Promise<T>[] {
  const parts: Promise<T>[] = []
  for (let at = 0; at < channels.length; at += AT_ONCE) parts.push(send(channels.slice(at, at + AT_ONCE)))
  return parts
}
