/** A line to the server that can be cut: a plain TCP relay on a port of its own. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Ends } from './ends.ts'

export interface Line {
  port: number
  /** Drops every connection without a goodbye, and takes no new one until `mend`. */
  cut(): void
  /** Takes what both sides say and hands nothing on, until `mend`: to each, the other is silent. */
  hold(): void
  mend(): void
  /** Leads to another port from the next connection on. */
  to(port: number): void
  /** What the server says from now on is lost on the way, and so is the connection at the next `cut`. */
  deafen(): void
}

export async function line(t: Ends, port: number): Promise<Line> {
  let target = port
  const sockets = new Set<Socket>()
  let broken = false
  let deaf = false
  let held = false
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    return socket
  }
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  const still = (...ends: Socket[]) => {
    for (const socket of ends) socket.pause()
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
    if (held) still(near, far)
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
  }).listen(0, '127.0.0.1')
  await once(relay, 'listening')
  t.after(async () => {
    cut()
    relay.close()
  })
  return {
    port: (relay.address() as AddressInfo).port,
    cut() {
      broken = true
      cut()
    },
    hold() {
      held = true
      still(...sockets)
    },
    mend() {
      broken = false
      deaf = false
      held = false
      for (const socket of sockets) socket.resume()
    },
    to(port) {
      target = port
    },
    deafen() {
      deaf = true
    },
  }
}
