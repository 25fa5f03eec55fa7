/**
 * The packets that Aedes does not get. SUBSCRIBE: it would merge equal filters of one packet and answer with fewer codes.
 * PUBACK: its own path costs a promise and a turn for each entry.
 */
import type { AedesClient, ConnectPacket, InboundPacket, SubscribePacket, UnsubscribePacket } from './aedes.ts'
import type { Connection } from './connection.ts'
import { breaksRule } from './rules.ts'
import { type SubscribeNeeds, subscribe, unsubscribe } from './subscribe.ts'

/** A stream that has come in, and what it has become so far. */
export interface Arrival {
  address: string
  packet?: ConnectPacket | undefined
  connection?: Connection
  /** Given by the server to a client that named itself nothing. */
  assignedId?: string
  /** Control packets that came behind the CONNECT before it was accepted. */
  held: InboundPacket[]
}

/** As many as Aedes holds of other packets. */
const MAX_HELD = 1_000
/** Longer than any topic that exists. */
const MAX_TOPIC = 180
const OURS: ReadonlySet<string> = new Set(['subscribe', 'unsubscribe', 'puback'])
/** What no client sends once it is connected; there is no authentication beside CONNECT's [MQTT-3.1.0-2]. */
const NOT_NOW: ReadonlySet<string> = new Set(['connect', 'auth', 'connack', 'suback', 'unsuback', 'pingresp'])

export function tap(client: AedesClient, arrival: Arrival, needs: SubscribeNeeds): void {
  const parser = client._parser
  const [enqueue] = parser.listeners('packet') as ((packet: InboundPacket) => void)[]
  if (!enqueue) throw new Error('Aedes does not listen to its parser')
  parser.removeAllListeners('packet')
  parser.on('packet', (packet: InboundPacket) => {
    const { connection } = arrival
    if (packet.cmd === 'disconnect' && connection && !breaksRule(packet)) connection.saidGoodbye = true
    if (connection ? !takes(connection, packet, needs) : !holds(client, arrival, packet)) enqueue.call(parser, packet)
  })
}

/** The CONNECT was accepted: what came behind it has its turn. */
export function release(arrival: Arrival, connection: Connection, needs: SubscribeNeeds): void {
  for (const packet of arrival.held.splice(0)) takes(connection, packet, needs)
}

function holds(client: AedesClient, { held }: Arrival, packet: InboundPacket): boolean {
  if (packet.cmd === 'connect') return false
  if (breaksRule(packet)) {
    client.conn.destroy()
    return true
  }
  if (!client.connecting || !OURS.has(packet.cmd)) return false
  if (held.length >= MAX_HELD) client.conn.destroy()
  else held.push(packet)
  return true
}

function takes(connection: Connection, packet: InboundPacket, needs: SubscribeNeeds): boolean {
  const { client } = connection
  // Too large: Aedes refuses it.
  if (packet.length > client.broker.maximumPacketSize) return false
  if (NOT_NOW.has(packet.cmd) || breaksRule(packet)) {
    connection.end('protocol-error')
    return true
  }
  switch (packet.cmd) {
    case 'puback':
      if (connection.open) connection.session.pump.acked(packet.messageId ?? 0)
      break
    case 'subscribe':
      connection.control(() => subscribe(connection, packet as unknown as SubscribePacket, needs), true)
      break
    case 'unsubscribe':
      connection.control(() => unsubscribe(connection, packet as unknown as UnsubscribePacket), true)
      break
    case 'publish':
      return refusesTopic(connection, packet)
    default:
      return false
  }
  if (client._keepaliveInterval > 0) client._keepaliveTimer?.refresh()
  return true
}

/** A name with a wildcard ends the connection [MQTT-3.3.2-2]; MQTT 5 is told why. */
function refusesTopic(connection: Connection, packet: InboundPacket): boolean {
  const topic = packet.topic ?? ''
  if (connection.version === 5 && /[+#\0\ufffd]/.test(topic)) {
    connection.end('no-such-topic')
    return true
  }
  // Aedes ends a connection for a topic of more than 100 levels; shortened, it is refused like any that does not exist.
  if (topic.length > MAX_TOPIC) packet.topic = topic.split('/', 20).join('/')
  return false
}
