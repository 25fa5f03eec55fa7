/** A line to the server that can be cut: a plain TCP relay on a port of its own. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

export interface Line {
  port: number
  /** Drops every connection without a goodbye, and takes no new one until `mend`. */
  cut(): void
  mend(): void
  /** Leads to another port from the next connection on. */
  to(port: number): void
  /** What the server says from now on is lost on the way, and so is the connection at the next `cut`. */
  deafen(): void
}

export async function line(t: TestContext, port: number): Promise<Line> {
  let target = port
  const sockets = new Set<Socket>()
  let broken = false
  let deaf = false
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    return socket
  }
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  const relay = createServer(near => {
    keep(near)
    if (broken) {
      near.destroy()
      return
    }
    const far = keep(connect(target, '127.0.0.1'))
    near.pipe(far)
    far.on('data', bytes => void (deaf || near.write(bytes)))
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
  }).listen(0, '127.0.0.1')
  await once(relay, 'listening')
  t.after(() => {
    cut()
    relay.close()
  })
  return {
    port: (relay.address() as AddressInfo).port,
    cut() {
      broken = true
      cut()
    },
    mend() {
      broken = false
      deaf = false
    },
    to(port) {
      target = port
    },
    deafen() {
      deaf = true
    },
  }
}
