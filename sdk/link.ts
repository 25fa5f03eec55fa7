/**
 * One MQTT connection, from CONNECT to its end, on mqtt.js; nothing else imports it. Reconnecting and resending are not left
 * to it: its store would send a publish again without asking the outbox, and with the old password. So every connection is a
 * client object of its own, and dies with the connection.
 */
// The default import: mqtt.js' build for browsers has no other.
import mqttJs, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt'
import { type Refusal, refusalOf } from './refusal.ts'

/** For Node: what to trust and to show on `mqtts:` and `wss:`. In a browser the browser decides. */
export interface TlsOptions {
  ca?: string
  cert?: string
  key?: string
  rejectUnauthorized?: boolean
}

export interface LinkOptions {
  url: string
  clientId: string
  username: string
  password: string
  keepAliveS: number
  sessionExpiryS: number
  /** Entries that the server may have on the way to this client. */
  receiveMaximum: number
  connectTimeoutMs: number
  tls?: TlsOptions
}

/** Why a connection ended, or never began; nothing of it where the line just went dead. */
export interface Ending {
  packet?: 'connack5' | 'disconnect' | 'suback'
  reasonCode?: number
  says?: string
  cause?: unknown
}

/** `acknowledge` is called once the message is dealt with; nothing more is done for it at QoS 0. */
export type Received = (topic: string, payload: Uint8Array, acknowledge: () => void) => void

export interface Link {
  sessionPresent: boolean
  /** Publishes that may be unacknowledged. */
  window: number
  /** Resolves when the connection is over. */
  ended: Promise<Ending>
  publish(topic: string, payload: string, settled: (refusal?: Refusal) => void): void
  /** @throws Ending */
  subscribe(filters: Record<string, { qos: 0 | 1 }>): Promise<void>
  /** Says goodbye; the session stays. */
  close(): void
}

const ANSWER_MS = 1_000
/** An answer of the server is only waited for on a link that is up, so this is more than any server grants. */
const MAX_WINDOW = 64

/** @throws Ending */
export function openLink(options: LinkOptions, received: Received): Promise<Link> {
  const mqtt = mqttJs.connect(options.url, mqttOptions(options))
  const acknowledge = acknowledger(mqtt)
  let over: Ending = {}
  mqtt.handleMessage = (packet, callback) => {
    const { topic, payload } = packet
    received(topic, typeof payload === 'string' ? new TextEncoder().encode(payload) : payload, acknowledge(packet))
    // An error here makes mqtt.js go on without a PUBACK of its own: ours follows when the app is done, and a listener
    // that waits for an answer of the server does not wait for itself.
    callback(packet.qos === 0 ? undefined : LATER)
  }
  mqtt.on('disconnect', packet => {
    over = ending('disconnect', packet)
  })

  return new Promise((resolve, reject) => {
    const ended = new Promise<Ending>(end => {
      mqtt.on('close', () => {
        mqtt.end(true)
        end(over)
        reject(over)
      })
    })
    mqtt.on('error', cause => {
      if (!over.packet) over = { cause }
    })
    mqtt.on('packetreceive', packet => {
      if (packet.cmd === 'connack' && packet.reasonCode) over = ending('connack5', packet)
    })
    mqtt.on('connect', ({ sessionPresent, properties }) => {
      const window = Math.min(properties?.receiveMaximum ?? MAX_WINDOW, MAX_WINDOW)
      resolve({ sessionPresent, window, ended, ...doors(mqtt) })
    })
  })
}

interface Reasons {
  reasonCode?: number
  properties?: { reasonString?: string }
}
const ending = (packet: 'connack5' | 'disconnect', { reasonCode = 0, properties }: Reasons): Ending => ({
  packet,
  reasonCode,
  ...(properties?.reasonString && { says: properties.reasonString }),
})

const LATER = new Error('acknowledged later')

const mqttOptions = (options: LinkOptions): IClientOptions => ({
  protocolVersion: 5,
  clientId: options.clientId,
  username: options.username,
  password: options.password,
  clean: false,
  keepalive: options.keepAliveS,
  reconnectPeriod: 0,
  connectTimeout: options.connectTimeoutMs,
  resubscribe: false,
  queueQoSZero: false,
  properties: { sessionExpiryInterval: options.sessionExpiryS, receiveMaximum: options.receiveMaximum },
  ...options.tls,
})

/** PUBACKs leave in the order of their PUBLISH packets [MQTT-4.6.0-2], however the listeners finish. */
function acknowledger(mqtt: MqttClient): (packet: IPublishPacket) => () => void {
  const line: { messageId: number; done: boolean }[] = []
  return ({ qos, messageId }) => {
    if (qos === 0 || messageId === undefined) return () => undefined
    const place = { messageId, done: false }
    line.push(place)
    return () => {
      place.done = true
      while (line[0]?.done) {
        // biome-ignore lint/complexity/useLiteralKeys: private in mqtt.js, which has no public way to acknowledge later
        if (mqtt.connected) mqtt['_sendPacket']({ cmd: 'puback', messageId: line[0].messageId, reasonCode: 0 })
        line.shift()
      }
    }
  }
}

function doors(mqtt: MqttClient): Pick<Link, 'publish' | 'subscribe' | 'close'> {
  return {
    publish(topic, payload, settled) {
      mqtt.publish(topic, payload, { qos: 1 }, (error, packet) => {
        const { reasonCode = 0, properties } = (packet ?? {}) as {
          reasonCode?: number
          properties?: { reasonString?: string }
        }
        if (reasonCode >= 0x80) settled(refusalOf('puback', reasonCode, properties?.reasonString))
        // Any other error is the connection's: the message is still waiting.
        else if (!error) settled()
      })
    },
    subscribe: filters =>
      new Promise((resolve, reject) => {
        mqtt.subscribe(filters, error => {
          if (!error) return resolve()
          const refused = 'code' in error && typeof error.code === 'number'
          reject(refused ? { packet: 'suback', reasonCode: error.code, cause: error } : { cause: error })
        })
      }),
    close() {
      mqtt.end(false)
      // A server that is gone does not close its side.
      const timer = setTimeout(() => mqtt.stream.destroy(), ANSWER_MS)
      mqtt.on('close', () => clearTimeout(timer))
    },
  }
}
