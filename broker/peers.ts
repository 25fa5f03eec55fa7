/**
 * The other nodes: live events, ends and new conversations reach a member wherever they are connected. All of it may be lost
 * on the way: what must hold is made good from storage.
 */
import type { Connections, Gatekeeper, Memberships } from '../core/ports.ts'
import { FAULTS, type FaultCode } from '../protocol/faults.ts'
import type { AppId, ConversationId, Member, Seq } from '../protocol/ids.ts'
import type { Connection } from './connection.ts'
import type { Delivery } from './delivery.ts'
import { Holders, type HoldersNeeds, readTold } from './holders.ts'
import { Nodes, type NodesNeeds } from './nodes.ts'

export interface PeersNeeds extends HoldersNeeds, Omit<NodesNeeds, 'cluster' | 'died'> {
  delivery: Delivery
  memberships: Pick<Memberships, 'of' | 'follow'>
  gatekeeper: Pick<Gatekeeper, 'stands'>
}

/** What goes to the nodes where a member is connected. */
type ToMember = { event: object } | { end: FaultCode; grant?: string } | { joined: ConversationId; seq: Seq }
/** What goes to all nodes of an app's readers of telemetry. */
type ToApp = { topic: string; payload: string }

/** Pauses between looks for what the bus may have lost: while it is away, and while it is not. */
const AWAY_MS = 5_000
const ROUND_MS = 60_000
const AT_ONCE = 16

const memberChannel = (app: AppId, member: Member) => `m/${app}/${member}`
const wordTo = (app: AppId, member: Member, told: ToMember) => ({
  channel: memberChannel(app, member),
  message: Buffer.from(JSON.stringify(told)),
})

/** What on the bus ends connections of a member on every node: for who is none. */
export const wordOfEnd = (app: AppId, member: Member, end: FaultCode, grant?: string) =>
  wordTo(app, member, { end, ...(grant !== undefined && { grant }) })

export class Peers {
  readonly #needs: PeersNeeds
  readonly #nodes: Nodes
  readonly holders: Holders
  readonly #stop: () => void
  #cancel: (() => void) | undefined
  #lookedAt = 0
  #missed = false
  #closed = false

  constructor(needs: PeersNeeds) {
    this.#needs = needs
    const { cluster, memberships, table } = needs
    this.holders = new Holders(needs)
    const missed = () => {
      this.#missed = true
    }
    // What a node that died had stored and told nobody of is like what the bus lost.
    this.#nodes = new Nodes({ ...needs, died: missed })
    this.#stop = cluster.bus.onMissed(missed)
    // To the last: requests that are under way are finished behind the end of this.
    memberships.follow(({ app, conversation, seq, joined }) => {
      for (const member of joined) this.#toMember(app, member, { joined: conversation, seq })
    })
    table.attend = (app, member) => this.#attend(app, member)
    table.attendTelemetry = app => this.#attendTelemetry(app)
  }

  /** Whether this node does what one of the cluster is enough for. */
  get isFirst(): boolean {
    return this.#nodes.isFirst
  }

  async open(): Promise<void> {
    await this.#nodes.open()
    this.#later()
  }

  #later(): void {
    this.#cancel = this.#needs.scheduler.after(1_000, () => {
      this.#look()
        .catch(error => this.#needs.failed('peers', error))
        .finally(() => {
          if (!this.#closed) this.#later()
        })
    })
  }

  /** When nobody is connected any more. `isWritten`: nothing of this node is left connected. */
  async close(isWritten: boolean): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    this.#stop()
    this.holders.close()
    await this.#nodes.close(isWritten)
  }

  // ---- members ----

  /** What the rules tell, wherever the member is connected. */
  readonly connections: Connections = {
    tell: (app, user, event) => {
      this.#needs.table.tell(app, user, event)
      this.#toMember(app, user, { event })
    },
    end: (app, member, code, grant) => {
      this.#needs.table.end(app, member, code, grant)
      this.#toMember(app, member, { end: code, ...(grant !== undefined && { grant }) })
    },
    retained: (app, topic, payload) => {
      this.#needs.table.retained(app, topic, payload)
      const told: ToApp = { topic, payload: Buffer.from(payload).toString('base64') }
      this.#needs.cluster.bus.publish(`t/${app}`, Buffer.from(JSON.stringify(told)))
    },
  }

  #toMember(app: AppId, member: Member, told: ToMember): void {
    const { channel, message } = wordTo(app, member, told)
    this.#needs.cluster.bus.publish(channel, message)
  }

  #attend(app: AppId, member: Member): () => void {
    const { cluster, table, delivery } = this.#needs
    return cluster.bus.subscribe(memberChannel(app, member), message => {
      const told = readTold<ToMember>(message)
      if (!told) return
      if ('event' in told) table.tell(app, member, told.event)
      else if ('joined' in told) for (const session of delivery.of(app, member)) session.cameInto(told.joined, told.seq)
      else if (Object.hasOwn(FAULTS, told.end)) table.end(app, member, told.end, told.grant)
    })
  }

  #attendTelemetry(app: AppId): () => void {
    const { cluster, table } = this.#needs
    return cluster.bus.subscribe(`t/${app}`, message => {
      const told = readTold<ToApp>(message)
      if (told) table.retained(app, told.topic, Buffer.from(told.payload, 'base64'))
    })
  }

  // ---- what the bus has lost ----

  async #look(): Promise<void> {
    const { cluster, scheduler } = this.#needs
    const pauseMs = this.#missed ? 0 : cluster.bus.healthy ? ROUND_MS : AWAY_MS
    const sinceMs = scheduler.now() - this.#lookedAt
    // A clock that was set back does not keep it from looking.
    if (sinceMs >= 0 && sinceMs < pauseMs) return
    const everything = this.#missed || !cluster.bus.healthy
    this.#missed = false
    this.#lookedAt = scheduler.now()
    const all = [...this.#needs.table.all()]
    for (let at = 0; at < all.length && !this.#closed; at += AT_ONCE) {
      const some = all.slice(at, at + AT_ONCE)
      try {
        await this.holders.lookAt(some)
        if (everything) await Promise.all(some.map(connection => this.#catchUp(connection)))
      } catch (thrown) {
        // Storage is away: it is looked at again.
        this.#missed ||= everything
        throw thrown
      }
    }
  }

  /** What happened to the member unheard: an end of the log-in, and conversations that they came into. */
  async #catchUp(connection: Connection): Promise<void> {
    const { memberships, gatekeeper } = this.#needs
    const { session, caller } = connection
    if (!(await gatekeeper.stands(caller))) return connection.end('token-revoked')
    const { app, member } = session.id
    let next: string | undefined
    do {
      const page = await memberships.of(app, member, next)
      next = page.next
      for (const { conversation, joinedSeq } of page.items) session.following.cameInto(conversation, joinedSeq)
    } while (next !== undefined && !this.#closed)
  }
}
