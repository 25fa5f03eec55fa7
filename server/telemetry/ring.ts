/** Nodes of Cassandra, by datacenter, as this server's driver holds them. */
import type { HostFigures } from '../../storage/open.ts'
import type { Meters } from './meters.ts'

export function ringMetrics(meters: Meters, hosts: () => HostFigures[]): void {
  const by = (figure: 'known' | 'up' | 'losses') => (): [string, number][] =>
    hosts().map(of => [of.datacenter, of[figure]])
  meters.gauges('im_cassandra_hosts_known', 'Cassandra nodes that the ring has.', 'datacenter', by('known'))
  meters.gauges('im_cassandra_hosts_up', 'Those of them that are held to be up.', 'datacenter', by('up'))
  const losses = () => Object.fromEntries(by('losses')())
  meters.countedBy('im_cassandra_host_losses_total', 'Times that one was seen to go down.', 'datacenter', losses)
}
