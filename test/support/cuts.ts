/** Stands between a driver and Cassandra, and does to chosen frames of CQL what a network may: no answer, a cut, a delay. */
import { once } from 'node:events'
import { createServer, connect as dial, type Server, type Socket } from 'node:net'

/** What becomes of a request. `late`: it arrives when `release` is called, and the line is cut at once. */
export type Fate = 'pass' | 'cut before' | 'cut behind' | 'unanswered' | 'late'
export interface Request {
  /** Conditional batches, plain ones, statements, and all that is none of these. */
  kind: 'cas' | 'write' | 'read' | 'other'
}

const HEAD = 9
const [QUERY, EXECUTE, BATCH] = [0x07, 0x0a, 0x0d]

export class Cuts implements AsyncDisposable {
  /** Asked for every request. */
  fate: (request: Request) => Fate | Promise<Fate> = () => 'pass'
  /** Requests that had another fate than to pass. */
  count = 0
  readonly #server: Server
  readonly #to: string
  readonly #sockets = new Set<Socket>()
  readonly #lines = new Set<Socket>()
  #late: (() => Promise<void>)[] = []

  private constructor(to: string) {
    this.#to = to
    this.#server = createServer(socket => this.#connected(socket))
  }

  /** In front of `host:port`. */
  static async start(to: string): Promise<Cuts> {
    const cuts = new Cuts(to)
    cuts.#server.listen(0, '127.0.0.1')
    await once(cuts.#server, 'listening')
    return cuts
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  /** What is late arrives; resolves when it was answered. */
  async release(): Promise<void> {
    await Promise.all(this.#late.splice(0).map(send => send()))
  }

  /** Lines of the driver that are open. */
  get lines(): number {
    return this.#lines.size
  }
  /** All of them end now. */
  cut(): void {
    for (const line of this.#lines) line.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #connected(client: Socket): void {
    const [host, port] = this.#to.split(':')
    const node = dial(Number(port), host)
    this.#lines.add(client)
    client.on('close', () => this.#lines.delete(client))
    for (const socket of [client, node]) {
      this.#sockets.add(socket.setNoDelay(true))
      socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket))
    }
    /** Streams whose answer does not come through. */
    const held = new Map<number, Fate>()
    let isHeldOpen = false
    client.on('close', () => isHeldOpen || node.destroy())
    node.on('close', () => client.destroy())
    const cut = () => client.destroy()
    frames(client, async frame => {
      const given = this.fate({ kind: kindOf(frame) })
      const fate = typeof given === 'string' ? given : await given
      if (fate !== 'pass') this.count++
      if (fate === 'cut before') return cut()
      if (fate === 'late') {
        isHeldOpen = true
        this.#late.push(async () => {
          node.write(frame)
          await once(node, 'data')
          node.destroy()
        })
        return cut()
      }
      if (fate !== 'pass') held.set(frame.readInt16BE(2), fate)
      node.write(frame)
    })
    frames(node, frame => {
      const fate = held.get(frame.readInt16BE(2))
      if (!fate) client.write(frame)
      held.delete(frame.readInt16BE(2))
      if (fate === 'cut behind') cut()
    })
  }
}

function kindOf(frame: Buffer): Request['kind'] {
  const opcode = frame[4]
  if (opcode === BATCH) return frame[HEAD] === 0 ? 'cas' : 'write'
  return opcode === EXECUTE || opcode === QUERY ? 'read' : 'other'
}

function frames(socket: Socket, each: (frame: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (bytes: Buffer) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
    while (rest.length >= HEAD) {
      const end = HEAD + rest.readUInt32BE(5)
      if (rest.length < end) return
      each(rest.subarray(0, end))
      rest = rest.subarray(end)
    }
  })
}
