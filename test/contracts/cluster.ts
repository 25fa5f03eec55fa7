/** What the contract suites of bus and leases stand on: nodes of one cluster, as many as a test likes. */
import type { TestContext } from 'node:test'
import type { Bus, Cluster } from '../../core/ports.ts'

export interface ClusterEngine {
  name: string
  /** Why it cannot be run here. */
  skip: string | false
  /** A fresh cluster; whatever joined leaves with the test. */
  make(t: TestContext): Promise<{ join(node: string): Promise<Cluster> }>
}

export async function nodes<Names extends string[]>(engine: ClusterEngine, t: TestContext, ...names: Names) {
  const { join } = await engine.make(t)
  return (await Promise.all(
    names.map(async name => {
      const node = await join(name)
      t.after(() => node[Symbol.asyncDispose]())
      return node
    }),
  )) as { [K in keyof Names]: Cluster }
}

/** What came on a channel, as text; `next` resolves when so many did. */
export function hear(bus: Bus, channel: string) {
  const heard: string[] = []
  let wake = () => {}
  const end = bus.subscribe(channel, message => {
    heard.push(message.toString())
    wake()
  })
  const until = async (count: number): Promise<string[]> => {
    while (heard.length < count)
      await new Promise<void>(resolve => {
        wake = resolve
      })
    return heard
  }
  return { heard, end, until }
}

export const text = (message: string | number) => Buffer.from(`${message}`)
