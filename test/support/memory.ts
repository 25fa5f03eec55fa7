/** What a server process holds when its garbage is collected: heap and buffers, without what merely waits to be freed. */
import { once } from 'node:events'
import { WebSocket } from 'ws'
import type { TestServer } from './server.ts'

/** Start the server with this, so that its inspector takes a free port when it is asked for. */
export const INSPECTABLE = { NODE_OPTIONS: '--inspect-port=127.0.0.1:0' }

/** Of all servers together: whose a session is nobody knows here. */
export async function liveMiB(server: TestServer): Promise<number> {
  const all = await Promise.all((await inspectors(server)).map(heldAt))
  return all.reduce((sum, bytes) => sum + bytes, 0) / 1024 / 1024
}

async function heldAt(address: string): Promise<number> {
  const inspector = await inspect(address)
  // Buffers are freed by the collection after the one that finds them dead.
  for (let i = 0; i < 3; i++) await inspector.call('HeapProfiler.collectGarbage')
  const { usedSize, embedderHeapUsedSize = 0, backingStorageSize = 0 } = await inspector.call('Runtime.getHeapUsage')
  inspector.close()
  return (usedSize ?? 0) + embedderHeapUsedSize + backingStorageSize
}

/** One of each process. */
async function inspectors(server: TestServer): Promise<string[]> {
  const addresses = () =>
    [...server.log.matchAll(/Debugger listening on (ws:\S+)/g)].map(([, address]) => address as string)
  if (addresses().length === 0) server.signal('SIGUSR1')
  while (addresses().length < server.size) await new Promise(resolve => setImmediate(resolve))
  return addresses()
}

async function inspect(address: string) {
  const socket = new WebSocket(address)
  await once(socket, 'open')
  let id = 0
  return {
    close: () => socket.close(),
    async call(method: string): Promise<Record<string, number>> {
      socket.send(JSON.stringify({ id: ++id, method }))
      for (;;) {
        const [data] = (await once(socket, 'message')) as [Buffer]
        const answer = JSON.parse(data.toString()) as { id?: number; result?: Record<string, number> }
        if (answer.id === id) return answer.result ?? {}
      }
    },
  }
}
