/**
 * A session moves: the node that has it lets go of it for the next. The head of the session says which run of which node that
 * is, as storage decides it; the bus only asks. Where a node cannot be reached, its epoch ends what it does.
 */
import type { Cluster, Scheduler } from '../core/ports.ts'
import { isConflict } from '../protocol/faults.ts'
import type { Connection } from './connection.ts'
import type { ConnectionTable } from './connections.ts'
import { nodeOf } from './nodes.ts'
import type { Leaves, SessionStore } from './sessions.ts'

export interface HoldersNeeds {
  cluster: Cluster
  table: ConnectionTable
  store: SessionStore
  scheduler: Scheduler
  /** Ends a connection and writes what it leaves. */
  closed(connection: Connection): Promise<void>
  failed(where: string, error: unknown): void
}

/** What goes to one node: to let go of a session as it was in an epoch, or earlier; that it has. */
type ToNode = { leave: string; epoch: number; reply: { node: string; id: number } } | { left: number }

/** For a node that lives to write what a session leaves; below the time for a CONNECT. */
const LEAVE_MS = 8_000
/** Without a heartbeat for so long a node is taken for dead: one comes every second. */
const SILENT_MS = 4_000
/** A node that cannot be asked, or was silent and is back, may be writing what its clients left. */
const UNHEARD_MS = 1_000
const LOOK_MS = 250

const nodeChannel = (node: string) => `n/${node}`

export class Holders {
  readonly #needs: HoldersNeeds
  readonly #waiting = new Map<number, () => void>()
  /** Sessions that are being opened here, and wait for no other node. */
  readonly #opening = new Map<string, Promise<void>>()
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

  /** Resolves when all that was listened to before the call comes. */
  listening(): Promise<void> {
    return this.#needs.cluster.bus.settled()
  }

  /**
   * Opens a session. `leaves` resolves when the run of a node that has it has let go of it and written what it leaves, or has
   * died, or the time is up. Until `open` resolves no other node is told that it is free here.
   */
  async opening<Result>(key: string, open: (leaves: Leaves) => Promise<Result>): Promise<Result> {
    let done = this.#begin(key)
    try {
      return await open(async (run, epoch, hasLeft) => {
        // Two nodes that wait for each other would wait for ever.
        done()
        await this.#ask(nodeOf(run), { leave: key, epoch }, hasLeft)
        done = this.#begin(key)
      })
    } finally {
      done()
    }
  }

  #begin(key: string): () => void {
    let end = () => {}
    const over = new Promise<void>(resolve => {
      end = resolve
    })
    this.#opening.set(key, over)
    return () => {
      if (this.#opening.get(key) === over) this.#opening.delete(key)
      end()
    }
  }

  #ask(node: string, what: { leave: string; epoch: number }, hasLeft: () => Promise<boolean>): Promise<void> {
    const { cluster, scheduler } = this.#needs
    const id = ++this.#asked
    const since = scheduler.now()
    let looks = 0
    return new Promise(resolve => {
      let cancel = () => {}
      const done = () => {
        cancel()
        this.#waiting.delete(id)
        resolve()
      }
      const later = () => {
        if (!this.#waiting.has(id)) return
        // A clock that is set back does not make it longer than the looks take.
        const waitedMs = Math.max(looks++ * LOOK_MS, scheduler.now() - since)
        if (this.#isInVain(node, waitedMs)) done()
        else cancel = scheduler.after(LOOK_MS, look)
      }
      // A node that stops may have written everything, and be gone before its word is.
      const look = () =>
        void hasLeft().then(
          is => (is ? done() : later()),
          () => later(),
        )
      this.#waiting.set(id, done)
      this.#toNode(node, { ...what, reply: { node: cluster.node, id } })
      later()
    })
  }

  /** Whether nothing is to be waited for any more. */
  #isInVain(node: string, waitedMs: number): boolean {
    if (waitedMs < UNHEARD_MS) return false
    const { bus } = this.#needs.cluster
    const peer = bus.peers().find(other => other.node === node)
    return waitedMs >= LEAVE_MS || !bus.healthy || !peer || peer.silentMs > SILENT_MS
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
    const { leave: key, epoch, reply } = told
    this.#let(key, epoch)
      .catch(error => this.#needs.failed('leave', error))
      .finally(() => this.#toNode(reply.node, { left: reply.id }))
  }

  async #let(key: string, epoch: number): Promise<void> {
    await this.#opening.get(key)
    const connection = this.#needs.table.ofSession(key)
    // A word that was long on its way is of a connection before this one.
    if (!connection || connection.session.record.row.epoch > epoch) return
    connection.end('session-taken-over')
    await this.#needs.closed(connection)
  }

  /** The member is here, for as long as the connection. */
  hold(connection: Connection): void {
    const { app, member } = connection.session.id
    const { epoch } = connection.session.record.row
    this.#held.set(connection, this.#needs.cluster.leases.hold(`u/${app}/${member}`, '', epoch))
  }

  release(connection: Connection): void {
    this.#held.get(connection)?.()
    this.#held.delete(connection)
  }

  /** Ends connections whose session has gone on elsewhere unheard; takes back those that were given up for dead. */
  async lookAt(connections: readonly Connection[]): Promise<void> {
    const all = await this.#needs.store.standing(connections.map(({ session }) => session.record.row))
    for (const [nth, connection] of connections.entries()) {
      if (all[nth] === 'elsewhere') connection.end('session-taken-over')
      else if (all[nth] === 'given up' && !connection.closing)
        connection.session.record.claim().catch(error => {
          // Where a newer owner has it, the record has said so.
          if (!isConflict(error)) this.#needs.failed('claim', error)
        })
    }
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
