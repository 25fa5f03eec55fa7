/** The nodes of a ring as the driver holds them: how many there are, are up, and went down. */
import type { Client, Host } from 'cassandra-driver'

/** Of one datacenter. */
export interface HostFigures {
  datacenter: string
  known: number
  up: number
  /** Times that a node was seen to go down. */
  losses: number
}

export function watchHosts(client: Client): () => HostFigures[] {
  const losses = new Map<string, number>()
  client.on('hostDown', ({ datacenter }: Host) => losses.set(datacenter, (losses.get(datacenter) ?? 0) + 1))
  return () => {
    const all = client.hosts.values()
    const datacenters = new Set([...all.map(({ datacenter }) => datacenter), ...losses.keys()])
    return [...datacenters].map(datacenter => {
      const there = all.filter(host => host.datacenter === datacenter)
      const up = there.filter(host => host.isUp()).length
      return { datacenter, known: there.length, up, losses: losses.get(datacenter) ?? 0 }
    })
  }
}
