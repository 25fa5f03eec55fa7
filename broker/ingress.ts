/**
 * What one connection publishes. A whole read chunk arrives at once, so publishes are started one after the other:
 * the next when the order of the one before is settled in the log, without waiting for it to be durable. Their
 * acknowledgements leave in the order of arrival [MQTT-4.6.0-2].
 */
import type { Known, Turn } from '../core/caller.ts'
import type { Scheduler } from '../core/ports.ts'
import type { Run } from '../core/run.ts'
import { Fault } from '../protocol/faults.ts'
import type { PublishPacket } from './aedes.ts'
import { answer, fail, type Question, replyTopic } from './answers.ts'
import { type Elsewhere, Repeated } from './elsewhere.ts'
import type { Origins } from './origins.ts'
import { type Request, requestOf } from './requests.ts'
import type { Session } from './session.ts'

export interface InboundPublish {
  topic: string
  payload: Uint8Array
  qos: 0 | 1 | 2
  packetId: number
  dup: boolean
  retain: boolean
  responseTopic?: string | undefined
  correlationData?: Uint8Array | undefined
}

export function inboundOf(packet: PublishPacket): InboundPublish {
  const { topic, payload, qos, dup, retain, messageId, properties } = packet
  return {
    topic,
    payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
    qos,
    packetId: messageId ?? 0,
    dup,
    retain,
    responseTopic: properties?.responseTopic,
    correlationData: properties?.correlationData,
  }
}

interface Needs {
  caller: Known
  session: Session
  origins: Origins
  run: Run
  scheduler: Scheduler
  /** Where the session may be at other nodes. */
  elsewhere?: Elsewhere | undefined
}

/** How a publish ended; `settled` is called once for each, in the order of arrival. */
export type Settled = (fault: Fault | undefined) => void

interface Slot {
  publish: InboundPublish
  settled: Settled
  outcome: Fault | 'accepted' | undefined
  since: number
}

/** Calls of one connection that are being worked on; further ones wait, and with them the connection. */
const MAX_CALLS = 16

export class Ingress {
  readonly #needs: Needs
  /** Not acknowledged yet, in the order of arrival. */
  readonly #slots: Slot[] = []
  /** Not started yet. */
  readonly #waiting: Slot[] = []
  #blocked = false
  #held = 0
  #draining = false
  #calls = 0
  #callDone: (() => void)[] = []
  #idle: (() => void)[] = []

  constructor(needs: Needs) {
    this.#needs = needs
  }

  get unanswered(): number {
    return this.#slots.length
  }
  /** How long the oldest publish has waited for its outcome. */
  waitedMs(now: number): number {
    return this.#slots[0] ? now - this.#slots[0].since : 0
  }
  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    return this.#slots.length === 0 ? Promise.resolve() : new Promise(resolve => this.#idle.push(resolve))
  }

  publish(publish: InboundPublish, settled: Settled): void {
    const slot: Slot = { publish, settled, outcome: undefined, since: this.#needs.scheduler.now() }
    this.#slots.push(slot)
    this.#waiting.push(slot)
    this.#drain()
  }

  /** What comes from now on waits until as many calls of `goOn`. */
  hold(): void {
    this.#held++
  }
  goOn(): void {
    this.#held--
    this.#drain()
  }

  #drain(): void {
    if (this.#draining) return
    this.#draining = true
    while (!this.#blocked && this.#held === 0) {
      const slot = this.#waiting.shift()
      if (!slot) break
      this.#blocked = true
      this.#start(slot)
    }
    this.#draining = false
  }

  #start(slot: Slot): void {
    let open = false
    const enqueued = () => {
      if (open) return
      open = true
      this.#blocked = false
      this.#drain()
    }
    this.#perform(slot.publish, enqueued).then(
      () => {
        enqueued()
        this.#settle(slot, 'accepted')
      },
      thrown => {
        enqueued()
        this.#settle(slot, Fault.from(thrown))
      },
    )
  }

  #settle(slot: Slot, outcome: Fault | 'accepted'): void {
    slot.outcome = outcome
    while (this.#slots[0]?.outcome) {
      const first = this.#slots.shift() as Slot
      first.settled(first.outcome === 'accepted' ? undefined : (first.outcome as Fault))
    }
    if (this.#slots.length === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  async #perform(publish: InboundPublish, enqueued: () => void): Promise<void> {
    const { caller, run } = this.#needs
    const request = requestOf(publish, caller.app)
    if (publish.retain && request.operation !== 'sendTelemetry') throw new Fault('no-retained')
    // What a device says by itself is an alert, telemetry or a result.
    if (request.operation === 'sendMessage' && !request.call && caller.kind === 'device') throw new Fault('not-allowed')
    if (request.call) return this.#call(request, publish, enqueued)
    if (publish.qos === 0 || (publish.qos === 1 && request.input.clientMessageId !== undefined)) {
      await run(request.operation, caller, request.input, { enqueued })
      return
    }
    await this.#once(request, publish as InboundPublish & { qos: 1 | 2 }, enqueued)
  }

  /** A publish that carries no id of its own: recognised by packet id and payload when it comes again. */
  async #once(request: Request, publish: InboundPublish & { qos: 1 | 2 }, enqueued: () => void): Promise<void> {
    const { caller, origins, run, session, elsewhere } = this.#needs
    const loading = origins.load(publish)
    if (loading) await loading
    const changes = origins.remember(publish)
    if (changes === 'repeated') return
    const turn: Turn = {
      enqueued,
      changes: () => changes,
      ...(elsewhere && { judge: key => elsewhere.judge(publish, key, session, origins) }),
    }
    try {
      await run(request.operation, caller, request.input, turn)
      origins.stored(publish.packetId, publish.qos)
    } catch (thrown) {
      if (thrown instanceof Fault && thrown.cause instanceof Repeated) return
      origins.forget(publish.packetId, publish.qos)
      throw thrown
    }
  }

  /** Any operation. The acknowledgement says only that it was received; the answer goes to the reply topic. */
  async #call({ operation, input }: Request, publish: InboundPublish, enqueued: () => void): Promise<void> {
    const { caller, session, run } = this.#needs
    const { requestId, ...fields } = input
    const question = questionOf(requestId, publish, replyTopic(session.id))
    if (this.#calls >= MAX_CALLS) await new Promise<void>(resolve => this.#callDone.push(resolve))
    this.#calls++
    run(operation, caller, fields, { enqueued })
      .then(
        result => answer(session, question, result),
        (thrown: unknown) => fail(session, question, Fault.from(thrown)),
      )
      .finally(() => {
        this.#calls--
        this.#callDone.shift()?.()
      })
  }
}

function questionOf(requestId: unknown, { responseTopic, correlationData }: InboundPublish, own: string): Question {
  const issue = (message: string) => new Fault('malformed', { issues: [{ path: ['requestId'], message }] })
  if (responseTopic !== undefined && responseTopic !== own && !responseTopic.startsWith(`${own}/`))
    throw new Fault('not-allowed')
  if (requestId === undefined && correlationData !== undefined) return { requestId: '', responseTopic, correlationData }
  if (typeof requestId !== 'string' || requestId.length === 0 || requestId.length > 128)
    throw issue('A call needs a requestId of 1 to 128 characters.')
  return { requestId, responseTopic, correlationData }
}
