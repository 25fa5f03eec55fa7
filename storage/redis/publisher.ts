/** The publishing half of the bus: what is published in one turn of the event loop goes out together, in order, once. */
import type { Redis } from 'ioredis'
import { dialOnce } from './dial.ts'
import { beatOf, frameOf } from './frame.ts'
import { Link } from './link.ts'
import { Places } from './places.ts'
import { type Told, Trouble } from './trouble.ts'
import type { Address } from './url.ts'

/** Bytes and messages that are waiting or have no answer yet. */
const MAX_BYTES = 8 * 1024 * 1024
const MAX_MESSAGES = 50_000
/** What a message costs beside its bytes, about. */
const OVERHEAD = 200

interface Waiting {
  channel: string
  frame: Buffer
}

export class Publisher {
  readonly link: Link
  readonly #self: Buffer
  readonly #missed: string
  #redis: Redis | undefined
  #line = 0
  #waiting: Waiting[] = []
  #bytes = 0
  #messages = 0
  #dropped = 0
  #sent = 0
  /** Heartbeats that were sent. */
  #beats = 0
  /** Where one has no answer yet. */
  #beating: Redis | undefined
  /** When Redis last answered. */
  answeredAt = Number.NEGATIVE_INFINITY
  /** Something was dropped of which the others were not told. */
  #owesWord = false

  constructor(address: Address, self: Buffer, missed: string, tell?: (told: Told) => void) {
    this.#self = self
    this.#missed = missed
    const places = new Places(address)
    this.link = new Link(() => dialOnce(address, 'im-publisher', places.next()), new Trouble('publisher', tell), {
      up: redis => this.#up(redis, places),
      down: () => this.#down(),
    })
  }

  get dropped(): number {
    return this.#dropped
  }

  get sent(): number {
    return this.#sent
  }

  /** Says that this node is there. A number is used until it is known to be sent: one that is missing was lost on its way. */
  beat(node: string): void {
    const redis = this.#redis
    if (!redis || redis === this.#beating) return
    this.#beating = redis
    const frame = frameOf(this.#self, this.#line, beatOf(this.#beats + 1, node))
    redis
      .publish(this.#missed, frame)
      .then(
        () => {
          this.#beats += 1
          this.answeredAt = performance.now()
        },
        () => {},
      )
      .finally(() => {
        if (redis === this.#beating) this.#beating = undefined
      })
  }

  publish(channel: string, message: Uint8Array): void {
    const size = message.byteLength + OVERHEAD
    // Without a line there is nothing to wait for: what is sent on the next one would be told late, as if it were new.
    if (!this.#redis || this.#bytes + size > MAX_BYTES || this.#messages >= MAX_MESSAGES) {
      this.#drop(1)
      return
    }
    this.#bytes += size
    this.#messages += 1
    this.#enqueue({ channel, frame: frameOf(this.#self, this.#line, message) })
  }

  #enqueue(waiting: Waiting): void {
    if (this.#waiting.push(waiting) === 1) setImmediate(() => this.#flush())
  }

  #drop(count: number): void {
    this.#dropped += count
    this.#owesWord ||= count > 0
  }

  async #up(redis: Redis, places: Places): Promise<void> {
    await places.learn(redis)
    this.#redis = redis
    this.#line += 1
    this.#sayMissed()
  }

  /** Tells the others, as soon as it can be told, that something never came. */
  #sayMissed(): void {
    if (!this.#owesWord || !this.#redis) return
    this.#owesWord = false
    this.#messages += 1
    this.#bytes += OVERHEAD
    this.#enqueue({ channel: this.#missed, frame: frameOf(this.#self, this.#line, new Uint8Array(0)) })
  }

  #flush(): void {
    const batch = this.#waiting
    const redis = this.#redis
    this.#waiting = []
    if (!redis || batch.length === 0) return
    const pipeline = redis.pipeline()
    let bytes = 0
    for (const { channel, frame } of batch) {
      pipeline.publish(channel, frame)
      bytes += frame.byteLength - this.#frameHead + OVERHEAD
    }
    void pipeline.exec().then(
      answers => this.#answered(redis, batch.length, bytes, (answers ?? []).filter(([error]) => error).length),
      () => this.#answered(redis, batch.length, bytes, batch.length),
    )
  }

  readonly #frameHead = frameOf(Buffer.alloc(8), 0, new Uint8Array(0)).byteLength

  #answered(redis: Redis, messages: number, bytes: number, failed: number): void {
    // Those of a line that was lost are counted when it is.
    if (redis !== this.#redis) return
    this.#messages -= messages
    this.#bytes -= bytes
    this.#sent += messages - failed
    this.answeredAt = performance.now()
    this.#drop(failed)
    if (failed > 0) this.link.drop('Redis refused a publish.')
    else if (this.#bytes < MAX_BYTES / 2) this.#sayMissed()
  }

  #down(): void {
    if (!this.#redis) return
    this.#redis = undefined
    this.#drop(this.#messages)
    this.#waiting = []
    this.#messages = 0
    this.#bytes = 0
  }

  close(): void {
    this.link.close()
    this.#down()
  }
}
