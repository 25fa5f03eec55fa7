/** What this server sees of the others: Redis, the bus, who lives, and clocks. */
import type { OpenedCluster, RedisFigures } from '../../storage/open.ts'
import type { Meters } from './meters.ts'

/** Redis is asked every second; one that has not answered for so long is down. */
const UP_WITHIN_MS = 5_000

export function clusterMetrics(meters: Meters, cluster: OpenedCluster): void {
  const { figures } = cluster
  if (figures) redisMetrics(meters, figures)
  busMetrics(meters, cluster)
  meters.gauge('im_cluster_nodes', 'Servers that live by the leases, this one included.', async () => {
    return (await cluster.leases.nodes())?.length
  })
}

function redisMetrics(meters: Meters, figures: () => RedisFigures): void {
  meters.gauge('im_redis_up', 'Whether Redis answered within the last 5 s.', () => {
    return figures().silentMs < UP_WITHIN_MS ? 1 : 0
  })
  meters.counted('im_redis_losses_total', 'Times that Redis stopped answering.', () => figures().losses)
  meters.counted('im_cluster_nodes_lost_total', 'Servers whose lease ran out while Redis was there.', () => {
    return figures().nodesLost
  })
  const startedAfterCrash = figures().startedAfterCrash ? 1 : 0
  meters.gauge(
    'im_started_after_crash',
    'Whether the run of this IM_NODE before had not given up its lease when this one began.',
    () => startedAfterCrash,
  )
  meters.gauge('im_clock_offset_seconds', "This machine's clock less that of Redis, compared within 30 s.", () => {
    const { clockOffsetMs } = figures()
    return clockOffsetMs === undefined ? undefined : clockOffsetMs / 1000
  })
}

function busMetrics(meters: Meters, { bus }: OpenedCluster): void {
  let missed = 0
  bus.onMissed(() => {
    missed += 1
  })
  meters.countedBy('im_bus_messages_total', 'Messages on the bus between servers.', 'direction', () => ({
    sent: bus.sent,
    received: bus.received,
  }))
  meters.counted('im_bus_dropped_total', 'Messages that were not sent, or whose sending is unknown.', () => bus.dropped)
  meters.counted('im_bus_missed_total', 'Times that messages of peers may have been missed.', () => missed)
  meters.gauges('im_bus_peer_silence_seconds', 'Since the last heartbeat of a living peer on the bus.', 'peer', () =>
    bus.peers().map(({ node, silentMs }) => [node, silentMs / 1000]),
  )
}
