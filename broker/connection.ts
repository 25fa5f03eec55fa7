/** One MQTT connection: a session, what it publishes, and the socket between them. */
import type { Known } from '../core/caller.ts'
import type { Scheduler } from '../core/ports.ts'
import { Fault, type FaultCode } from '../protocol/faults.ts'
import type { EpochMs } from '../protocol/ids.ts'
import type { AedesClient, PublishPacket } from './aedes.ts'
import { refused } from './answers.ts'
import { type InboundPublish, type Ingress, inboundOf } from './ingress.ts'
import type { BrokerObserver } from './observer.ts'
import type { Origins } from './origins.ts'
import type { Outlet } from './sender.ts'
import type { Session } from './session.ts'
import { cork, type OutboundPublish, publishSize, reasonFor, refusingAck, writePublish } from './wire.ts'

export interface ConnectionLimits {
  /** Nothing is written while the socket holds more than this. */
  windowBytes: number
  /** Publishes a second that are read at full speed. */
  publishesPerSecond: number
  /** A publish without an outcome for so long ends its connection: it is unknown whether it is stored. */
  answerMs: number
  /** A connection that takes no byte for so long is closed. */
  stalledMs: number
}

interface Needs {
  client: AedesClient
  caller: Known
  limits: ConnectionLimits
  scheduler: Scheduler
  observer: BrokerObserver
}

/** When more control packets wait for their turn, no further ones are read. */
const MAX_CONTROL = 100

export class Connection implements Outlet {
  readonly client: AedesClient
  readonly caller: Known
  readonly #needs: Needs
  session!: Session
  ingress!: Ingress
  origins!: Origins
  /** The client sent DISCONNECT: it has nothing left to repeat. */
  saidGoodbye = false
  /** Its CONNACK is out. */
  begun = false
  /** Settled when nothing of this connection is under way or unwritten any more. */
  closing: Promise<void> | undefined
  #control: Promise<void>
  #controls = 0
  #begin: (() => void) | undefined
  #written = 0
  #taken = 0
  #takenAt: EpochMs
  #second = 0
  #published = 0
  #ended = false
  #deaf = false

  constructor(needs: Needs) {
    this.#needs = needs
    this.client = needs.client
    this.caller = needs.caller
    this.#takenAt = needs.scheduler.now()
    this.#control = new Promise(resolve => {
      this.#begin = resolve
    })
    this.client.conn.on('drain', () => {
      this.session.pump.drained()
      this.client.reading.goOn('answers')
    })
  }

  get version(): number {
    return this.client.version
  }
  get open(): boolean {
    return !this.#ended && !this.client.closed
  }

  // ---- outlet of the pump ----

  get writable(): boolean {
    const { conn } = this.client
    // Of less than its high-water mark a stream never says that it has drained.
    const most = Math.max(this.#needs.limits.windowBytes, conn.writableHighWaterMark)
    return this.open && conn.writableLength <= most
  }
  size(packet: OutboundPublish): number {
    return publishSize(packet, this.version)
  }
  write(packet: OutboundPublish): void {
    if (!this.open) return
    this.#written += packet.payload.length
    writePublish(this.client.conn, packet, this.version)
  }
  writeRaw(bytes: Buffer): void {
    if (!this.open) return
    this.#written += bytes.length
    cork(this.client.conn)
    this.client.conn.write(bytes)
    // Who does not read the answers is asked for no more questions.
    if (!this.writable) this.client.reading.hold('answers')
  }

  // ---- what the client sends ----

  /** The CONNACK is out: control packets that came with the CONNECT may go on. */
  begin(): void {
    this.begun = true
    this.#begin?.()
  }
  /** The connection is over: what waited for its CONNACK waits no longer. */
  leave(): void {
    this.#begin?.()
  }

  /** Behind the CONNACK, and beside control packets: what changes nothing is answered before anything else goes out. */
  resume(): void {
    void this.#control.then(() => this.#tried(() => this.session.resume()))
  }

  /**
   * One SUBSCRIBE or UNSUBSCRIBE at a time, in order. What is published behind a `first` one waits for it, so that who
   * subscribes and then publishes hears it.
   */
  control(work: () => Promise<void>, first = false): void {
    if (first) this.ingress.hold()
    if (++this.#controls > MAX_CONTROL) this.client.reading.hold('control')
    this.#control = this.#control.then(async () => {
      await this.#tried(work)
      if (first) this.ingress.goOn()
      if (--this.#controls === 0) this.client.reading.goOn('control')
    })
  }

  /** A fault ends the connection. */
  async #tried(work: () => Promise<void>): Promise<void> {
    try {
      if (this.open) await work()
    } catch (thrown) {
      const fault = Fault.from(thrown)
      if (fault.code === 'internal') this.#needs.observer.failed('control', fault.cause)
      this.end(fault.code)
    }
  }

  publish(packet: PublishPacket, done: () => void): void {
    // The next connection has looked what is in the log: what is read behind this one's end is left to be sent again, in order.
    this.#deaf ||= this.closing !== undefined && packet.qos > 0
    if (this.#deaf) return
    this.#slowDown()
    const publish = inboundOf(packet)
    this.ingress.publish(publish, fault => {
      if (!this.open) return
      if (!fault) this.#acknowledge(done)
      else if (fault.row.final) this.#refuse(publish, packet, fault, done)
      else this.#unknown(publish, fault, done)
    })
  }

  /** Aedes writes the acknowledgement when told. */
  #acknowledge(done: () => void): void {
    cork(this.client.conn)
    done()
  }

  /** For good: taken off the client's hands, by reason code (MQTT 5) or by an event beside the PUBACK. */
  #refuse(publish: InboundPublish, packet: PublishPacket, fault: Fault, done: () => void): void {
    this.#needs.observer.publishRefused(fault.code)
    const { qos, packetId } = publish
    if (this.version === 5 && qos > 0) {
      const says = this.client._requestProblemInformation ? this.#reason(fault) : undefined
      this.writeRaw(refusingAck(qos as 1 | 2, packetId, fault.row.puback ?? 0x83, says))
      // To Aedes it is now a publish that has no acknowledgement.
      packet.qos = 0
    } else {
      refused(this.session, publish, fault)
    }
    this.#acknowledge(done)
  }

  /** Temporary, or its outcome is unknown: never acknowledged, so that the client sends it again. */
  #unknown(publish: InboundPublish, fault: Fault, done: () => void): void {
    this.#needs.observer.publishRefused(fault.code)
    if (fault.code === 'internal') this.#needs.observer.failed('publish', fault.cause)
    if (publish.qos > 0) {
      this.end(fault.code)
      return
    }
    refused(this.session, publish, fault)
    done()
  }

  /** Who publishes faster than the limit is read more slowly, not refused. */
  #slowDown(): void {
    const { scheduler, limits } = this.#needs
    const second = Math.floor(scheduler.now() / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#published = 0
    }
    if (++this.#published !== limits.publishesPerSecond) return
    this.client.reading.hold('rate')
    scheduler.after((second + 1) * 1000 - scheduler.now(), () => this.open && this.client.reading.goOn('rate'))
  }

  // ---- end ----

  /** Ends the connection; MQTT 5 is told why. */
  end(code: FaultCode): void {
    if (!this.open) return
    this.#ended = true
    this.#needs.observer.connectionEnded(code)
    const { client } = this
    if (this.version !== 5) client.close()
    // Who is being let in hears of it behind the CONNACK.
    else if (client.connected) this.#disconnect(code)
    else client.once('connected', () => this.#disconnect(code))
    // A reader that takes nothing would not take the DISCONNECT either.
    this.#needs.scheduler.after(1_000, () => client.conn.destroy())
  }

  #disconnect(code: FaultCode): void {
    const fault = new Fault(code)
    const reasonString = this.#reason(fault)
    const reasonCode = fault.row.disconnect ?? 0x80
    this.client.disconnect({ reasonCode, ...(reasonString !== undefined && { properties: { reasonString } }) })
  }

  #reason(fault: Fault): string | undefined {
    return reasonFor(fault, this.client.maximumPacketSize)
  }

  /** What must be looked at every second. */
  sweep(now: EpochMs): void {
    const { limits } = this.#needs
    if (this.caller.expiresAt !== undefined && this.caller.expiresAt <= now) this.end('token-expired')
    else if (this.ingress.waitedMs(now) > limits.answerMs) this.end('log-unavailable')
    const taken = this.#written - this.client.conn.writableLength
    if (this.client.conn.writableLength === 0 || taken > this.#taken) {
      this.#taken = taken
      this.#takenAt = now
    } else if (now - this.#takenAt > limits.stalledMs) this.end('reader-stalled')
  }
}
