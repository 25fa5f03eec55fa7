/** The sockets that people connect to: MQTT over TCP and TLS, and HTTP with MQTT over WebSocket at `/mqtt`. */
import { readFileSync } from 'node:fs'
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { type AddressInfo, createServer as createTcp, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTls } from 'node:tls'
import { WebSocketServer } from 'ws'
import type { Config } from './config.ts'
import { WebSocketStream } from './websocket.ts'

interface Needs {
  config: Config
  http: (req: IncomingMessage, res: ServerResponse) => void
  mqtt: (stream: Duplex, peer: { address: string }) => void
  /** Reads the header of a proxy, where one stands before every connection; resolves to the client's address. */
  proxyHeader?: ((socket: Socket) => Promise<string>) | undefined
}
export interface Listeners {
  ports: { http: number; mqtt: number; mqtts?: number }
  /** Nobody new gets in; who is in stays. */
  stopAccepting(): void
  close(): Promise<void>
}

const MAX_PACKET_BYTES = 320 * 1024
const PROTOCOLS = ['mqtt', 'mqttv3.1']
const HTTP_OPTIONS = {
  headersTimeout: 20_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 65_000,
  maxHeaderSize: 16_384,
  noDelay: true,
}

/** A port that cannot be listened on. */
export class CannotListen extends Error {}

export async function listen({ config, http, mqtt, proxyHeader }: Needs): Promise<Listeners> {
  const tls =
    config.tlsCertificate && config.tlsKey
      ? { cert: readFileSync(config.tlsCertificate), key: readFileSync(config.tlsKey) }
      : undefined
  const sockets = new Set<Socket>()
  const web = tls ? createHttps({ ...HTTP_OPTIONS, ...tls }, http) : createHttp(HTTP_OPTIONS, http)
  upgradeToMqtt(web, mqtt)
  const take = (socket: Socket) => {
    socket.setKeepAlive(true, 60_000)
    socket.on('error', () => {})
    if (!proxyHeader) mqtt(socket, { address: socket.remoteAddress ?? '' })
    else
      proxyHeader(socket).then(
        address => mqtt(socket, { address }),
        () => socket.destroy(),
      )
  }
  const plain = createTcp({ noDelay: true }, take)
  const secure =
    tls && createTls({ ...tls, handshakeTimeout: 10_000, noDelay: true } as Parameters<typeof createTls>[0], take)
  const servers: Server[] = [web, plain, ...(secure ? [secure] : [])]
  for (const server of servers) count(server, sockets, config.maxConnections)
  const close = () => closeAll(servers, sockets)
  try {
    const ports = {
      http: await open(web, config.httpPort, config.bind),
      mqtt: await open(plain, config.mqttPort, config.bind),
      ...(secure && { mqtts: await open(secure, config.mqttsPort, config.bind) }),
    }
    return { ports, stopAccepting: () => stop(servers), close }
  } catch (cause) {
    await close()
    throw cause
  }
}

/** Sockets of all listeners together are bounded: one more is closed at once. */
function count(server: Server, sockets: Set<Socket>, most: number): void {
  server.on('connection', (socket: Socket) => {
    if (sockets.size >= most) {
      socket.destroy()
      return
    }
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
}

function upgradeToMqtt(web: Server, mqtt: Needs['mqtt']): void {
  const handleProtocols = (offered: Set<string>) => PROTOCOLS.find(protocol => offered.has(protocol)) ?? false
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols,
    maxPayload: MAX_PACKET_BYTES,
    perMessageDeflate: false,
  })
  web.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => {})
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map(protocol => protocol.trim())
    const path = (request.url ?? '').split('?')[0]
    if (path !== '/mqtt') return refuse(socket, '404 Not Found')
    if (!offered.some(protocol => PROTOCOLS.includes(protocol))) return refuse(socket, '400 Bad Request')
    sockets.handleUpgrade(request, socket, head, webSocket =>
      mqtt(new WebSocketStream(webSocket), { address: socket.remoteAddress ?? '' }),
    )
  })
}

function refuse(socket: Socket, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}

function open(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EADDRINUSE' ? 'it is in use' : cause.message
      reject(new CannotListen(`Port ${port} on ${host} cannot be listened on: ${why}.`, { cause }))
    })
    server.listen({ port, host, backlog: 4_096 }, () => resolve((server.address() as AddressInfo).port))
  })
}

function stop(servers: Server[]): void {
  for (const server of servers) if (server.listening) server.close()
}

async function closeAll(servers: Server[], sockets: Set<Socket>): Promise<void> {
  const closed = servers.map(
    server => new Promise<void>(resolve => (server.listening ? server.close(() => resolve()) : resolve())),
  )
  for (const socket of sockets) socket.destroy()
  await Promise.all(closed)
}
