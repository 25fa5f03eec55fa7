/** What a server process holds when its garbage is collected: heap and buffers, without what merely waits to be freed. */
import { once } from 'node:events'
import { WebSocket } from 'ws'
import type { TestServer } from './server.ts'

/** Start the server with this, so that its inspector takes a free port when it is asked for. */
export const INSPECTABLE = { NODE_OPTIONS: '--inspect-port=127.0.0.1:0' }

export async function liveMiB(server: TestServer): Promise<number> {
  const inspector = await inspect(server)
  // Buffers are freed by the collection after the one that finds them dead.
  for (let i = 0; i < 3; i++) await inspector.call('HeapProfiler.collectGarbage')
  const { usedSize, embedderHeapUsedSize = 0, backingStorageSize = 0 } = await inspector.call('Runtime.getHeapUsage')
  inspector.close()
  return ((usedSize ?? 0) + embedderHeapUsedSize + backingStorageSize) / 1024 / 1024
}

async function inspect(server: TestServer) {
  const address = () => /Debugger listening on (ws:\S+)/.exec(server.log)?.[1]
  if (!address()) server.signal('SIGUSR1')
  while (!address()) await new Promise(resolve => setImmediate(resolve))
  const socket = new WebSocket(address() as string)
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
