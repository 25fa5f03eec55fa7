/**
 * Which node has a session: a lease says it, and whoever has it lets go of it for the next. The epoch in storage decides where
 * the nodes cannot reach each other.
 */
import type { Cluster, Scheduler } from '../core/ports.ts'
import type { AppId, Member } from '../protocol/ids.ts'
import type { Connection } from './connection.ts'
import type { ConnectionTable } from './connections.ts'
import type { SessionStore } from './sessions.ts'

export interface HoldersNeeds {
  cluster: Cluster
  table: ConnectionTable
  store: SessionStore
  scheduler: Scheduler
  /** Ends a connection and writes what it leaves. */
  closed(connection: Connection): Promise<void>
  failed(where: string, error: unknown): void
}

/** What goes to one node. */
type ToNode = { leave: string; below?: number; reply?: { node: string; id: number } } | { left: number }

/** For another node to write what a session leaves. */
const LEAVE_MS = 3_000

const nodeChannel = (node: string) => `n/${node}`
const sessionLease = (key: string) => `s/${key}`
const userLease = (app: AppId, member: Member) => `u/${app}/${member}`

export class Holders {
  readonly #needs: HoldersNeeds
  readonly #waiting = new Map<number, () => void>()
  readonly #held = new Map<Connection, () => void>()
  readonly #stop: () => void
  #asked = 0

  constructor(needs: HoldersNeeds) {
    this.#needs = needs
    const { bus, node } = needs.cluster
    this.#stop = bus.subscribe(nodeChannel(node), message => this.#heard(readTold<ToNode>(message)))
  }

  close(): void {
    this.#stop()
  }

  /** Another node that has the session lets go of it, and has written what it leaves, or the time is up. */
  async takeOver(key: string): Promise<void> {
    const { cluster } = this.#needs
    const [holders = []] = (await cluster.leases.get([sessionLease(key)])) ?? []
    await Promise.all(holders.filter(({ node }) => node !== cluster.node).map(({ node }) => this.#ask(node, key)))
  }

  #ask(node: string, key: string): Promise<void> {
    const { cluster, scheduler } = this.#needs
    const id = ++this.#asked
    return new Promise(resolve => {
      const done = () => {
        cancel()
        this.#waiting.delete(id)
        resolve()
      }
      const cancel = scheduler.after(LEAVE_MS, done)
      this.#waiting.set(id, done)
      this.#toNode(node, { leave: key, reply: { node: cluster.node, id } })
    })
  }

  #toNode(node: string, told: ToNode): void {
    this.#needs.cluster.bus.publish(nodeChannel(node), Buffer.from(JSON.stringify(told)))
  }

  #heard(told: ToNode | undefined): void {
    if (!told) return
    if ('left' in told) {
      this.#waiting.get(told.left)?.()
      return
    }
    const { leave: key, below = Number.POSITIVE_INFINITY, reply } = told
    this.#let(key, below)
      .catch(error => this.#needs.failed('leave', error))
      .finally(() => reply && this.#toNode(reply.node, { left: reply.id }))
  }

  async #let(key: string, below: number): Promise<void> {
    const connection = this.#needs.table.ofSession(key)
    if (!connection || connection.session.record.row.epoch >= below) return
    connection.end('session-taken-over')
    await this.#needs.closed(connection)
  }

  /** This node has the session now; of two that think so, the newer owner stays. */
  hold(connection: Connection): void {
    const { cluster } = this.#needs
    const { key, id, record } = connection.session
    const { epoch } = record.row
    const holds = [
      cluster.leases.hold(sessionLease(key), '', epoch),
      cluster.leases.hold(userLease(id.app, id.member), '', epoch),
    ]
    this.#held.set(connection, () => {
      for (const release of holds) release()
    })
    this.#settle(connection).catch(error => this.#needs.failed('hold', error))
  }

  async #settle(connection: Connection): Promise<void> {
    const { cluster } = this.#needs
    const { key, record } = connection.session
    const { epoch } = record.row
    await cluster.leases.settled()
    const [holders = []] = (await cluster.leases.get([sessionLease(key)])) ?? []
    for (const { node, rank } of holders) {
      if (node === cluster.node || rank === epoch) continue
      if (rank > epoch) connection.end('session-taken-over')
      else this.#toNode(node, { leave: key, below: epoch })
    }
  }

  release(connection: Connection): void {
    this.#held.get(connection)?.()
    this.#held.delete(connection)
  }

  /** Connections whose session has gone on elsewhere unheard. */
  async endOutrun(connections: readonly Connection[]): Promise<void> {
    const rows = connections.map(({ session }) => session.record.row)
    const outrun = new Set(await this.#needs.store.outrun(rows))
    connections.forEach((connection, nth) => {
      if (outrun.has(rows[nth] as (typeof rows)[0])) connection.end('session-taken-over')
    })
  }
}

/** Nothing where it is not ours. */
export function readTold<T extends object>(message: Buffer): T | undefined {
  try {
    const told: unknown = JSON.parse(message.toString())
    return typeof told === 'object' && told !== null ? (told as T) : undefined
  } catch {
    return undefined
  }
}
