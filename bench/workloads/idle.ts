/** 5,000 users online and silent: what one connection costs in memory. */
import { comeOnline } from '../load/session.ts'
import { each, sleep } from '../machine.ts'
import { range } from '../targets/target.ts'
import type { Wire } from '../wire/wire.ts'
import { below, grown, rounded, rssOf, spending, type Workload } from './workload.ts'

/** Long enough for the garbage of the CONNECTs to be collected, if the server does so by itself. */
const SETTLE_MS = 3_000

export const idle: Workload = {
  says: '5,000 users with one persistent session each, subscribed and silent: resident memory of a connection',
  reference: true,
  compared: { figure: 'rss_kib_per_connection', more: false },
  scene: ({ idle: people, conversations }) => ({
    people,
    groups: range(people).flatMap(person => range(conversations).map(() => [person])),
  }),
  async run(target, options) {
    const before = rssOf(target)
    const under = await target.counts?.()
    const redisBefore = (await target.redisBytes?.()) ?? 0
    const startedAt = performance.now()
    const wires: Wire[] = []
    await each(range(options.idle), 64, async person => {
      wires.push(await comeOnline(target, person, options.version))
    })
    const connectingS = (performance.now() - startedAt) / 1_000
    await sleep(Math.max(SETTLE_MS, options.warmUpMs))
    const after = rssOf(target)
    const underAfter = await target.counts?.()
    const spent = await spending(target, () => sleep(options.seconds * 1_000))
    const redisBytes = ((await target.redisBytes?.()) ?? 0) - redisBefore
    const line = {
      rss_kib_per_connection: rounded((after - before) / options.idle),
      rss_before_mib: rounded(before / 1_024),
      rss_after_mib: rounded(after / 1_024),
      ...(under && underAfter && below({ under: grown(under, underAfter) }, options.idle, 'connect')),
      ...(under && { redis_bytes_per_connection: rounded(redisBytes / options.idle) }),
      ...below(spent, spent.seconds, 's'),
      connects_per_s: rounded(options.idle / connectingS),
      idle_server_cpu_ms_per_s: rounded(spent.serverMs / spent.seconds),
      connections_count: options.idle,
      conversations_per_connection_count: options.conversations,
      source_addresses_count: 1,
    }
    return { line, verdict: { disconnected: wires.filter(wire => wire.closed).length } }
  },
}
