/** Nodes of a test at one Redis. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { openRedis } from '../../storage/redis/open.ts'
import type { Told } from '../../storage/redis/trouble.ts'
import { type RedisServer, until } from './redis.ts'

type Opened = Awaited<ReturnType<typeof openRedis>>
export const LIFE_MS = 900

export async function join(t: TestContext, url: string, node: string, lifeMs = LIFE_MS) {
  const told: Told[] = []
  const opened = await openRedis({ url, node, lifeMs, tell: what => told.push(what) })
  t.after(() => opened[Symbol.asyncDispose]())
  let missed = 0
  opened.bus.onMissed(() => missed++)
  return Object.assign(opened, { told, missed: () => missed })
}
export const whole = (...all: Opened[]) =>
  until(() => all.every(({ bus, leases }) => bus.healthy && leases.healthy), 'all nodes are whole again')
export const heldBy = async (at: Opened, key: string) =>
  (await at.leases.get([key]))?.[0]?.map(({ node }) => node).sort()

/** Ends connections of a name on the server, as a network would. */
export async function cut(server: RedisServer, name: string): Promise<void> {
  const list = String(await server.ask('CLIENT', 'LIST'))
  const ids = list
    .split('\n')
    .flatMap(line => (line.includes(` name=${name} `) ? (/^id=(\d+)/.exec(line)?.[1] ?? []) : []))
  assert.ok(ids.length > 0, list)
  for (const id of ids) await server.ask('CLIENT', 'KILL', 'ID', id)
}
