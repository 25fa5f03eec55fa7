/** A connection that is replaced, without end, by a new one when it ends. Nothing outlives a connection unseen. */
import type { Redis } from 'ioredis'
import { backoffMs } from './dial.ts'
import type { Trouble } from './trouble.ts'

export interface LinkEnds {
  /** The connection is ready. It counts as up when this resolves; a rejection ends it. */
  up(redis: Redis): Promise<void>
  /** It is gone; called once for every `up`, also for one that was still under way. */
  down(): void
}

export class Link {
  readonly #dial: () => Redis
  readonly #ends: LinkEnds
  readonly #trouble: Trouble
  #redis: Redis | undefined
  #isUp = false
  #attempt = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(dial: () => Redis, trouble: Trouble, ends: LinkEnds) {
    this.#dial = dial
    this.#trouble = trouble
    this.#ends = ends
  }

  get isUp(): boolean {
    return this.#isUp
  }

  /** Resolves after the first attempt, whatever came of it. */
  async open(): Promise<void> {
    if (this.#closed) return
    const redis = this.#dial()
    this.#redis = redis
    redis.on('error', (error: Error) => this.#trouble.say(error))
    redis.once('end', () => this.#again())
    try {
      await redis.connect()
      await this.#raise(redis)
    } catch (error) {
      this.#trouble.say(error)
      redis.disconnect()
    }
  }

  async #raise(redis: Redis): Promise<void> {
    redis.once('end', () => {
      this.#isUp = false
      this.#ends.down()
    })
    await this.#ends.up(redis)
    if (redis.status !== 'ready') return
    this.#isUp = true
    this.#attempt = 0
    this.#trouble.over()
  }

  /** Ends this connection, for another to be made. */
  drop(why: string): void {
    this.#trouble.say(new Error(why))
    this.#redis?.disconnect()
  }

  #again(): void {
    if (this.#closed) return
    this.#trouble.say(new Error('The connection was closed.'))
    this.#timer = setTimeout(() => void this.open(), backoffMs(this.#attempt++))
    this.#timer.unref()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#redis?.disconnect()
  }
}
