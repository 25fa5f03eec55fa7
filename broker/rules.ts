/**
 * Rules of MQTT that the parser lets pass. It gives a property that stands twice as a list, and one that is cut off as
 * null, false or -1; Aedes takes what it gets at its word, and a throw there would end the process.
 */
import type { ConnectPacket, InboundPacket } from './aedes.ts'

type Properties = Readonly<Record<string, unknown>> | undefined

/** Whether the packet is a protocol error (MQTT 5, 4.13.1). */
export function breaksRule(given: InboundPacket | ConnectPacket): boolean {
  const packet = given as InboundPacket
  if (!isWhole(packet.properties) || !isWhole(packet.will?.properties)) return true
  switch (packet.cmd) {
    case 'connect':
      // [MQTT-3.1.2-24], 3.1.2.11.3
      return packet.properties?.receiveMaximum === 0 || packet.properties?.maximumPacketSize === 0
    case 'publish':
      // [MQTT-2.2.1-2], [MQTT-3.3.4-6]
      return (packet.qos !== 0 && !isId(packet)) || packet.properties?.subscriptionIdentifier !== undefined
    case 'subscribe':
      // [MQTT-3.8.3-2], 3.8.2.1.2
      return !isId(packet) || packet.subscriptions?.length === 0 || packet.properties?.subscriptionIdentifier === 0
    case 'unsubscribe':
      return !isId(packet) || packet.unsubscriptions?.length === 0
    default:
      return false
  }
}

const isId = ({ messageId = 0 }: InboundPacket) => messageId > 0

function isWhole(properties: Properties): boolean {
  if (!properties) return true
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'userProperties') continue
    if (value === null || value === undefined || Array.isArray(value)) return false
    if (typeof value === 'number' ? value < 0 : value === false && !FLAGS.has(name)) return false
  }
  return true
}

/** Properties that are true or false. */
const FLAGS: ReadonlySet<string> = new Set([
  'payloadFormatIndicator',
  'requestProblemInformation',
  'requestResponseInformation',
])
