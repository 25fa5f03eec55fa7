/**
 * What cassandra-driver 4.10 leaves behind. Where it can reach no node at all it makes new hosts of them, and those before
 * go on connecting for ever; each way of noticing begins a search for a node of its own, and each search adds two. So the
 * connections of a server double with every outage, and keep its process when it is closed.
 */
import type { Client, Host } from 'cassandra-driver'

interface Control {
  connection?: { connected: boolean; close(): void } | null
  /** Where that goes to. */
  host?: Pick<Host, 'isUp'> | null
  /** Finds a node to hear of the others from; with `hosts`, goes on with those that are left. */
  _refresh(hosts?: unknown): Promise<void>
}
/** Hosts and the connection that hears of them, as the driver has them inside. */
interface Inside {
  controlConnection: Control
}
type Ending = Host & { shutdown(waits: boolean): Promise<void> }

/** Of a client that is connected. */
export function mend(client: Client): void {
  client.on('hostRemove', (host: Host) => {
    // One that left the ring is ended by the driver.
    if (client.hosts.get(host.address)) void (host as Ending).shutdown(false).catch(() => {})
  })
  const { controlConnection: control } = client as unknown as Inside
  const refresh = control._refresh.bind(control)
  let search: Promise<void> | undefined
  control._refresh = hosts => {
    if (hosts) return refresh(hosts)
    // The connection to a host that was given up is closed a moment later, and that is told to nobody.
    if (!search && control.connection?.connected && control.host?.isUp() !== false) return Promise.resolve()
    search ??= refresh().finally(() => {
      search = undefined
    })
    return search
  }
}

/** What a client asked first; it is not closed where the client then refuses to connect. */
export function closeFirst(client: Client): void {
  const { controlConnection } = client as unknown as Partial<Inside>
  controlConnection?.connection?.close()
}
