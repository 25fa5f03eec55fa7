/** Everyone who is connected here: found by session, told of live events, and ended when they may no longer stay. */
import type { Connections, Memberships } from '../core/ports.ts'
import type { FaultCode } from '../protocol/faults.ts'
import { type AppId, type ConversationId, type DeviceId, type Member, ofDevice } from '../protocol/ids.ts'
import { matchTopic, topic } from '../protocol/topics.ts'
import type { Connection } from './connection.ts'
import type { BrokerGauges } from './observer.ts'

/** A place of a member that is taken before the connection is there: what is decided about it meanwhile is not missed. */
export interface Place {
  readonly app: AppId
  readonly member: Member
  readonly grant: string
  /** Why the connection may not stay. */
  ended?: FaultCode
}

export class ConnectionTable implements Connections {
  readonly #memberships: Pick<Memberships, 'get'>
  readonly #bySession = new Map<string, Connection>()
  readonly #byMember = new Map<string, Set<Connection>>()
  readonly #places = new Map<string, Set<Place>>()
  /** What other nodes tell of members here, and of an app's telemetry: begun with the first who wants it. */
  readonly #attended = new Map<string, { count: number; end: () => void }>()
  attend: (app: AppId, member: Member) => () => void = () => () => {}
  attendTelemetry: (app: AppId) => () => void = () => () => {}

  constructor(memberships: Pick<Memberships, 'get'>) {
    this.#memberships = memberships
  }

  get size(): number {
    return this.#bySession.size
  }
  all(): Iterable<Connection> {
    return this.#bySession.values()
  }
  ofSession(key: string): Connection | undefined {
    return this.#bySession.get(key)
  }
  /** Connections of a member, those that are coming in included. */
  countOf(app: AppId, member: Member): number {
    const name = `${app}/${member}`
    return (this.#byMember.get(name)?.size ?? 0) + (this.#places.get(name)?.size ?? 0)
  }

  #begin(name: string, begin: () => () => void): void {
    const attended = this.#attended.get(name)
    if (attended) attended.count++
    else this.#attended.set(name, { count: 1, end: begin() })
  }
  #end(name: string): void {
    const attended = this.#attended.get(name)
    if (!attended || --attended.count > 0) return
    this.#attended.delete(name)
    attended.end()
  }

  take({ app, member, grant }: Place): Place {
    this.#begin(`${app}/${member}`, () => this.attend(app, member))
    const place: Place = { app, member, grant }
    const all = this.#places.get(`${app}/${member}`)
    if (all) all.add(place)
    else this.#places.set(`${app}/${member}`, new Set([place]))
    return place
  }
  giveBack(place: Place): void {
    const name = `${place.app}/${place.member}`
    const all = this.#places.get(name)
    if (!all?.delete(place)) return
    if (all.size === 0) this.#places.delete(name)
    this.#end(name)
  }

  add(connection: Connection): void {
    const { app, member } = connection.caller
    this.#bySession.set(connection.session.key, connection)
    this.#begin(`${app}/${member}`, () => this.attend(app, member))
    this.#begin(app, () => this.attendTelemetry(app))
    const all = this.#byMember.get(`${app}/${member}`)
    if (all) all.add(connection)
    else this.#byMember.set(`${app}/${member}`, new Set([connection]))
  }

  delete(connection: Connection): void {
    const { app, member } = connection.caller
    if (this.#bySession.get(connection.session.key) === connection) this.#bySession.delete(connection.session.key)
    const all = this.#byMember.get(`${app}/${member}`)
    if (!all?.delete(connection)) return
    if (all.size === 0) this.#byMember.delete(`${app}/${member}`)
    this.#end(`${app}/${member}`)
    this.#end(app)
  }

  tell(app: AppId, member: Member, event: object): void {
    const connections = this.#byMember.get(`${app}/${member}`)
    if (!connections) return
    const name = topic('live', app, member)
    const payload = Buffer.from(JSON.stringify(event))
    for (const { session } of connections) {
      const route = session.filters.of(name)
      if (route)
        session.pump.tell({
          topic: route.topic,
          payload,
          qos: 0,
          packetId: 0,
          dup: false,
          retain: false,
          subscriptionIds: route.subscriptionIds,
        })
    }
  }

  /** To those subscribed, as far as they may read it now. RETAIN is set for who asked for it as published [MQTT-3.3.1-12]. */
  retained(app: AppId, name: string, payload: Uint8Array): void {
    const device = matchTopic(name)?.subject
    if (device === undefined) return
    const conversation = ofDevice(device as DeviceId)
    for (const connection of this.#bySession.values()) {
      const { session, caller } = connection
      if (caller.app !== app || !session.filters.takesRetained) continue
      const route = session.filters.of(name)
      if (!route) continue
      const { qos, subscriptionIds, retainAsPublished } = route
      this.#mayRead(app, caller.member, conversation).then(may => {
        if (may)
          session.pump.tell({
            topic: route.topic,
            payload,
            qos,
            packetId: 0,
            dup: false,
            retain: retainAsPublished,
            subscriptionIds,
          })
      })
    }
  }

  async #mayRead(app: AppId, member: Member, conversation: ConversationId): Promise<boolean> {
    // A value that cannot be permitted now is not sent; the next one may be.
    return this.#memberships.get(app, member, conversation).then(
      membership => membership !== undefined,
      () => false,
    )
  }

  end(app: AppId, member: Member, code: FaultCode, grant?: string): void {
    for (const place of this.#places.get(`${app}/${member}`) ?? []) {
      if (grant === undefined || place.grant === grant) place.ended = code
    }
    for (const connection of [...(this.#byMember.get(`${app}/${member}`) ?? [])]) {
      if (grant === undefined || connection.caller.grant === grant) connection.end(code)
    }
  }

  gauges(): BrokerGauges {
    const gauges = { connections: this.size, behind: 0, lag: 0, inFlight: 0, unanswered: 0 }
    for (const { session, ingress } of this.#bySession.values()) {
      gauges.behind += session.pump.behindCount
      gauges.lag += session.pump.lag
      gauges.inFlight += session.pump.inFlightCount
      gauges.unanswered += ingress.unanswered
    }
    return gauges
  }
}
