/** SUBSCRIBE and UNSUBSCRIBE: one code per filter, in order; positions are fixed before the SUBACK, retained values follow it. */
import type { Memberships, RetainedValues } from '../core/ports.ts'
import { FAULTS } from '../protocol/faults.ts'
import { grant } from './access.ts'
import type { SubscribePacket, UnsubscribePacket } from './aedes.ts'
import type { Connection } from './connection.ts'
import { type Filter, takesRetained } from './filters.ts'
import { subscriptionAck } from './wire.ts'

export interface SubscribeNeeds {
  memberships: Pick<Memberships, 'get'>
  retained: RetainedValues
}

const MAX_FILTERS_A_PACKET = 50
const MAX_FILTERS_A_SESSION = 500
/** SUBACK of MQTT 3.1.1 has one code for every failure. */
const FAILURE = 0x80
/** UNSUBACK of MQTT 5. */
const NO_SUBSCRIPTION = 0x11
const DO_NOT_SEND_RETAINED = 2
const ONLY_IF_NEW = 1

export async function subscribe(connection: Connection, packet: SubscribePacket, needs: SubscribeNeeds): Promise<void> {
  const { session, version } = connection
  const wanted = packet.subscriptions
  const id = packet.properties?.subscriptionIdentifier
  const granted: [string, Filter][] = []
  const retained: string[] = []
  const codes: number[] = []
  const tooMany = wanted.length > MAX_FILTERS_A_PACKET
  for (const { topic, qos, rap, rh } of wanted) {
    const isNew = !session.filters.has(topic)
    const full = tooMany || (isNew && session.filters.size + granted.length >= MAX_FILTERS_A_SESSION)
    const answer = full ? FAULTS['too-many-filters'] : await grant(topic, qos, connection.caller, needs.memberships)
    if (typeof answer === 'object') {
      codes.push(version === 5 ? answer.suback : FAILURE)
      continue
    }
    codes.push(answer)
    granted.push([topic, { qos: answer, ...(id !== undefined && { id: Number(id) }), ...(rap && { rap: true }) }])
    const silent = rh === DO_NOT_SEND_RETAINED || (rh === ONLY_IF_NEW && !isNew)
    if (!silent && takesRetained(topic, session.id.app)) retained.push(topic)
  }
  if (granted.length > 0) await session.subscribe(granted)
  connection.writeRaw(subscriptionAck('suback', packet.messageId ?? 0, codes, version))
  // Before that they would wait in memory.
  if (retained.length > 0) await session.takenUp
  for (const filter of retained) await sendRetained(connection, filter, needs.retained)
}

export async function unsubscribe(connection: Connection, packet: UnsubscribePacket): Promise<void> {
  const held = await connection.session.unsubscribe(packet.unsubscriptions)
  const codes = held.map(was => (was ? 0 : NO_SUBSCRIPTION))
  connection.writeRaw(subscriptionAck('unsuback', packet.messageId ?? 0, codes, connection.version))
}

/** The newest values that the filter takes, with the RETAIN flag [MQTT-3.3.1-8]. */
async function sendRetained(connection: Connection, filter: string, values: RetainedValues): Promise<void> {
  const { id, filters, pump } = connection.session
  let after: string | undefined
  do {
    const { items, next } = await values.of(id.app, id.member, filter, after)
    for (const { topic, payload } of items) {
      const route = filters.of(topic)
      if (!route) continue
      const { qos, subscriptionIds } = route
      pump.tell({ topic: route.topic, payload, qos, packetId: 0, dup: false, retain: true, subscriptionIds })
    }
    after = next
  } while (after !== undefined && connection.open)
}
