/** The sockets that people connect to: MQTT over TCP and TLS, and HTTP with MQTT over WebSocket at `/mqtt`. */
import { readFileSync } from 'node:fs'
import { createServer as createHttp, type IncomingMessage } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { type AddressInfo, createServer as createTcp, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createSecureContext, createServer as createTls } from 'node:tls'
import { WebSocketServer } from 'ws'
import type { AddressOf, RequestHandler } from '../api/app.ts'
import type { Config } from './config.ts'
import { WebSocketStream } from './websocket.ts'

interface Needs {
  config: Config
  http: RequestHandler
  /** Of who upgrades to a WebSocket. */
  addressOf: AddressOf
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
  // A WebSocket whose peer is gone without a word is noticed by the machine.
  keepAlive: true,
  keepAliveInitialDelay: 60_000,
}

/** Connections of HTTP beside those of clients: whoever looks after a server that is full still gets an answer. */
const SPARE = 1_000
/** Answers under way at the end are waited for so long. */
const DRAIN_MS = 3_000

/** A port that cannot be listened on, or a certificate that cannot be used. */
export class CannotListen extends Error {}

export async function listen({ config, http, addressOf, mqtt, proxyHeader }: Needs): Promise<Listeners> {
  const tls = certificate(config)
  const clients = new Sockets(config.maxConnections)
  const requests = new Sockets(config.maxConnections + SPARE)
  let answering = 0
  const answer: RequestHandler = (req, res) => {
    answering++
    res.once('close', () => answering--)
    http(req, res)
  }
  const web = tls ? createHttps({ ...HTTP_OPTIONS, ...tls }, answer) : createHttp(HTTP_OPTIONS, answer)
  web.maxHeadersCount = 100
  upgradeToMqtt(web, clients, mqtt, addressOf)
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
  for (const server of servers) server.on('connection', (server === web ? requests : clients).bound)
  const close = () => closeAll(() => answering, servers, [clients, requests])
  const at = config.bind
  try {
    const ports = {
      http: await open(web, config.httpPort, at, 'IM_HTTP_PORT'),
      mqtt: await open(plain, config.mqttPort, at, 'IM_MQTT_PORT'),
      ...(secure && { mqtts: await open(secure, config.mqttsPort, at, 'IM_MQTTS_PORT') }),
    }
    return { ports, stopAccepting: () => stop(servers), close }
  } catch (cause) {
    await close()
    throw cause
  }
}

/** @throws CannotListen */
export function certificate({ tlsCertificate, tlsKey }: Config): { cert: Buffer; key: Buffer } | undefined {
  if (!tlsCertificate || !tlsKey) return undefined
  try {
    const pair = { cert: readFileSync(tlsCertificate), key: readFileSync(tlsKey) }
    createSecureContext(pair)
    return pair
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new CannotListen(`The certificate of IM_TLS_CERT and IM_TLS_KEY cannot be used: ${why}.`, { cause })
  }
}

/** So many at most. */
class Sockets {
  readonly open = new Set<Socket>()
  readonly #most: number

  constructor(most: number) {
    this.#most = most
  }

  /** False: there is no room. */
  take(socket: Socket): boolean {
    if (this.open.size >= this.#most) return false
    this.open.add(socket)
    socket.on('close', () => this.open.delete(socket))
    return true
  }

  /** One more is closed at once. */
  readonly bound = (socket: Socket): void => {
    if (!this.take(socket)) socket.destroy()
  }
}

function upgradeToMqtt(web: Server, clients: Sockets, mqtt: Needs['mqtt'], addressOf: AddressOf): void {
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
    if (!clients.take(socket)) return refuse(socket, '503 Service Unavailable')
    sockets.handleUpgrade(request, socket, head, webSocket =>
      mqtt(new WebSocketStream(webSocket), { address: addressOf(request) }),
    )
  })
}

function refuse(socket: Socket, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}

function open(server: Server, port: number, host: string, setting: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EADDRINUSE' ? 'it is in use' : cause.message
      reject(new CannotListen(`Port ${port} on ${host} (${setting}) cannot be listened on: ${why}.`, { cause }))
    })
    server.listen({ port, host, backlog: 4_096 }, () => resolve((server.address() as AddressInfo).port))
  })
}

function stop(servers: Server[]): void {
  for (const server of servers) if (server.listening) server.close()
}

/** Answers under way are finished first, as far as time allows. */
async function closeAll(answering: () => number, servers: Server[], all: Sockets[]): Promise<void> {
  stop(servers)
  const deadline = performance.now() + DRAIN_MS
  while (answering() > 0 && performance.now() < deadline) await new Promise(resolve => setTimeout(resolve, 10))
  for (const { open } of all) for (const socket of open) socket.destroy()
}
