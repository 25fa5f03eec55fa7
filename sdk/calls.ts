/** Operations over MQTT: a request goes to `{app}/call/{operation}`, its answer comes on `reply`. */
import type { ReplyEvent } from '../protocol/events.ts'
import type { OperationName, Request, Result } from '../protocol/operations.ts'
import { topic } from '../protocol/topics.ts'
import type { Link } from './link.ts'
import { Refusal } from './refusal.ts'

interface Waiting {
  resolve: (result: unknown) => void
  reject: (refusal: Refusal) => void
}

const MAX_WAITING = 1_000

export class Calls {
  readonly #waiting = new Map<string, Waiting>()
  readonly #timeoutMs: number
  #last = 0

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  /** @throws Refusal */
  call<K extends OperationName>(link: Link, app: string, name: K, request: Request<K>): Promise<Result<K>> {
    if (this.#waiting.size >= MAX_WAITING) return Promise.reject(new Refusal('too-many-calls'))
    this.#last += 1
    const requestId = String(this.#last)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(requestId)?.reject(new Refusal('timed-out')), this.#timeoutMs)
      const settled =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer)
          settle(value)
        }
      this.#waiting.set(requestId, { resolve: settled(resolve as (value: unknown) => void), reject: settled(reject) })
      link.publish(topic('call', app, name), JSON.stringify({ ...(request as object), requestId }), refusal => {
        if (refusal) this.#settle(requestId)?.reject(refusal)
      })
    })
  }

  answered(reply: Extract<ReplyEvent, { kind: 'reply' }>): void {
    const waiting = this.#settle(reply.requestId)
    if (reply.ok) waiting?.resolve(reply.result)
    else waiting?.reject(new Refusal(reply.code, { says: reply.says }))
  }

  /** Answers come on the connection that asked, so none will come any more. */
  disconnected(): void {
    for (const requestId of [...this.#waiting.keys()]) this.#settle(requestId)?.reject(new Refusal('timed-out'))
  }

  #settle(requestId: string): Waiting | undefined {
    const waiting = this.#waiting.get(requestId)
    this.#waiting.delete(requestId)
    return waiting
  }
}
