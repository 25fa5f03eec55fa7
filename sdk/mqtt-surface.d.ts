/**
 * What the SDK uses of mqtt.js, typed by the language alone. mqtt.js' own types bring Node's types along, and a slip into
 * Node would then pass the check against the DOM library (tsconfig.json beside this file); the whole project's check
 * compiles against the real ones.
 */
export type Packet = IConnackPacket | IPublishPacket | IDisconnectPacket
export interface IConnackPacket {
  cmd: 'connack'
  reasonCode?: number
  sessionPresent: boolean
  properties?: { receiveMaximum?: number; reasonString?: string }
}
export interface IPublishPacket {
  cmd: 'publish'
  topic: string
  payload: Uint8Array | string
  qos: 0 | 1 | 2
  messageId?: number
}
export interface IDisconnectPacket {
  cmd: 'disconnect'
  reasonCode?: number
  properties?: { reasonString?: string }
}
export type DoneCallback = (error?: Error) => void
export interface IClientOptions {
  protocolVersion?: 3 | 4 | 5
  clientId?: string
  username?: string
  password?: string
  clean?: boolean
  keepalive?: number
  reconnectPeriod?: number
  connectTimeout?: number
  resubscribe?: boolean
  queueQoSZero?: boolean
  properties?: { sessionExpiryInterval?: number; receiveMaximum?: number }
  ca?: string | string[]
  cert?: string
  key?: string
  rejectUnauthorized?: boolean
}
export class MqttClient {
  connected: boolean
  stream: { destroy(): void }
  on(event: 'connect', listener: (packet: IConnackPacket) => void): this
  on(event: 'disconnect', listener: (packet: IDisconnectPacket) => void): this
  on(event: 'packetreceive', listener: (packet: Packet) => void): this
  on(event: 'error', listener: (error: Error) => void): this
  on(event: 'close', listener: () => void): this
  handleMessage(packet: IPublishPacket, callback: DoneCallback): void
  publish(
    topic: string,
    message: string,
    options: { qos: 0 | 1 },
    callback: (error?: Error | null, packet?: unknown) => void,
  ): this
  subscribe(
    filters: Record<string, { qos: 0 | 1; rh?: number }>,
    callback: (error: Error | null, granted?: unknown) => void,
  ): this
  end(force?: boolean): this
  private _sendPacket(packet: { cmd: 'puback'; messageId: number; reasonCode: number }): void
}
declare const mqtt: { connect(url: string, options: IClientOptions): MqttClient }
export default mqtt
