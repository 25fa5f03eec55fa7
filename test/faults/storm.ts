/** A takeover storm: one client id connects again and again to every server, while what its user gets goes on. */
import { connectPacket, decode, subscribePacket } from '../../bench/wire/packets.ts'
import { Wire } from '../../bench/wire/wire.ts'
import type { Recorder } from '../crash/recorder.ts'
import type { Person } from '../support/person.ts'
import type { TestServer } from '../support/server.ts'
import { TEMPORARY, type Told } from './roamer.ts'

/** Connections under way at once: each server decides over several at any moment. */
const AT_ONCE = 6
const PATIENCE_MS = 30_000

interface Needs {
  recorder: Recorder
  told: Told
  servers: readonly TestServer[]
  person: Person
}

export class Storm {
  readonly name: string
  readonly user: string
  readonly #needs: Needs
  readonly #open = new Set<Wire>()
  readonly #idle: (() => void)[] = []
  #hasSubscribed = false
  accepted = 0
  /** Accepted ones that were told why they ended: mostly that another took the session. */
  told = 0
  /** CONNECTs that another one outran before they were accepted, or that were refused for now. */
  outrun = 0
  /** Accepted ones that ended without a word. */
  untold = 0

  constructor(needs: Needs) {
    this.#needs = needs
    this.user = needs.person.user
    this.name = `${this.user}-storm`
  }

  /** The session is there before the storm. */
  async begin(): Promise<void> {
    await this.#connect(0)
  }

  /** Resolves when each of them was accepted or has ended. */
  async blow(connects: number): Promise<void> {
    const { servers } = this.#needs
    let next = 0
    const one = async () => {
      while (next < connects) await this.#connect(next++ % servers.length)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, one))
  }

  /** Connections that are open when no more than one is, or when the time is up. */
  async survivors(): Promise<number> {
    const over = new Promise<void>(resolve => setTimeout(resolve, PATIENCE_MS).unref())
    while (this.#open.size > 1) {
      const closed = new Promise<void>(resolve => this.#idle.push(resolve))
      if ((await Promise.race([closed, over.then(() => 'over')])) === 'over') break
    }
    return this.#open.size
  }

  end(): void {
    for (const wire of this.#open) wire.destroy()
  }

  #hears(what: string): void {
    const { told } = this.#needs
    told.set(what, (told.get(what) ?? 0) + 1)
  }

  #refused(code: number): void {
    const { recorder } = this.#needs
    const what = `storm connack 0x${code.toString(16)}`
    this.#hears(what)
    if (!TEMPORARY.has(code)) recorder.problems.push(`${this.name} is refused with ${what}`)
  }

  #connect(to: number): Promise<void> {
    const { recorder, servers, person } = this.#needs
    const { name: session, user } = this
    const connection = recorder.connection(session)
    let isAccepted = false
    let isTold = false
    return new Promise(resolve => {
      const wire: Wire = new Wire({ port: servers[to]?.ports.mqtt ?? 0 }, 5, {
        packet: (type, flags, body) => {
          const packet = decode(5, type, flags, body)
          if (packet.type === 'disconnect') {
            isTold = true
            this.#hears(`storm disconnect 0x${packet.code.toString(16)}`)
          }
          if (packet.type === 'suback') {
            this.#hasSubscribed = true
            recorder.add({ do: 'subscribed', at: recorder.now(), session })
            resolve()
          }
          if (packet.type === 'connack' && packet.code !== 0) this.#refused(packet.code)
          if (packet.type !== 'connack' || packet.code !== 0) return
          isAccepted = true
          this.accepted++
          this.#open.add(wire)
          const resumed = packet.sessionPresent
          recorder.add({ do: 'connected', at: recorder.now(), connection, session, user, resumed })
          if (this.#hasSubscribed && !resumed) recorder.problems.push(`the session ${session} is lost`)
          if (this.#hasSubscribed) resolve()
          else wire.write(subscribePacket(5, 1, [{ filter: person.inbox, qos: 1 }]))
        },
        publish: ({ buffer, flags, payloadStart, payloadEnd }) =>
          recorder.came(
            connection,
            session,
            user,
            buffer.toString('utf8', payloadStart, payloadEnd),
            (flags & 8) !== 0,
          ),
        closed: () => {
          if (this.#open.delete(wire)) recorder.add({ do: 'disconnected', at: recorder.now(), connection, session })
          if (isTold) this.told++
          else if (isAccepted) this.untold++
          else this.outrun++
          for (const closed of this.#idle.splice(0)) closed()
          resolve()
        },
      })
      const { user: username, key: password } = person
      const properties = { sessionExpiryInterval: 3_600 }
      wire.write(connectPacket(5, { clientId: session, username, password, clean: false, properties }))
    })
  }
}
