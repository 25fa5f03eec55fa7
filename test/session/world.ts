/** The world of one run: a reader on one node, what they saw, and what is true. */
import { Delivery } from '../../broker/delivery.ts'
import { Session } from '../../broker/session.ts'
import { SessionStore } from '../../broker/sessions.ts'
import type { OutboundPublish } from '../../broker/wire.ts'
import type { ConversationKey, Membership, Memberships } from '../../core/ports.ts'
import type { AppId, ConversationId, Member, UserId } from '../../protocol/ids.ts'
import { MemoryLog } from './log.ts'
import { MemoryRecords } from './records.ts'
import { Turns } from './turns.ts'

export const app = 'im' as AppId
export const bob = 'bob' as UserId

interface Heard {
  conversation: ConversationId
  from: number
  seq: number
  /** Of a gap. */
  reason: string | undefined
  dup: boolean
  connection: number
}

export class World {
  readonly turns = new Turns()
  readonly log = new MemoryLog(this.turns)
  readonly records = new MemoryRecords(this.turns)
  readonly members = new Map<ConversationId, Membership>()
  readonly #followers: Parameters<Memberships['follow']>[0][] = []
  /** Entries that other nodes stored, on their way. */
  readonly #onBus = new Map<ConversationId, (() => void)[]>()
  /** Where the reader is not in: with which entry they left, and whether this node was told. */
  readonly out = new Map<ConversationId, { from: number; isTold: boolean }>()
  /** What this node has in memory: as old as the last entry that it was told of, from the first look on. */
  readonly roster = new Map<ConversationId, { place: Membership | undefined; unwatch: () => void }>()
  readonly memberships: Pick<Memberships, 'of' | 'get' | 'stored' | 'follow'> = {
    of: (_app, _member, after) => {
      // Two pages, so that changes come between them; what a page says may be over when it arrives.
      const all = [...this.members.values()].sort((a, b) => (a.conversation < b.conversation ? -1 : 1))
      const items = all.filter(({ conversation }) =>
        after === undefined ? conversation < 'g:b' : conversation >= after,
      )
      return this.turns.later(() => (after === undefined ? { items, next: 'g:b' } : { items }))
    },
    get: (_app, _member, conversation) => {
      const kept = this.roster.get(conversation)
      return this.turns.later(() => (kept ? kept.place : this.#kept(conversation)))
    },
    stored: (_app, _member, conversation) => this.turns.later(() => this.members.get(conversation)),
    follow: listener => {
      this.#followers.push(listener)
      return () => {}
    },
  }
  readonly delivery = new Delivery(this.log, this.memberships)
  readonly store = new SessionStore({ records: this.records, scheduler: this.turns })
  session: Session | undefined
  working: Promise<unknown> = Promise.resolve()
  #controlled: Promise<unknown> = Promise.resolve()
  writable = true
  /** Unacknowledged on this connection: packet id → what. */
  unacked = new Map<number, { conversation: ConversationId; from: number; seq: number }>()
  /** In the order of arrival, without resends. */
  heard: Heard[] = []
  connection = 0
  killed = false
  /** Other nodes tell this one of the reader. */
  isListening = false
  faults: string[] = []
  readonly window = 8

  key = (conversation: ConversationId): ConversationKey => `${app}/${conversation}`

  #kept(conversation: ConversationId) {
    const place = this.members.get(conversation)
    const kept = this.roster.get(conversation) ?? { place, unwatch: this.log.watch(this.key(conversation)) }
    this.roster.set(conversation, kept)
    return kept.place
  }

  say(conversation: ConversationId, elsewhere: boolean) {
    const entry = this.log.append(this.key(conversation))
    this.#heard(conversation, elsewhere, () => this.log.publish(this.key(conversation), entry))
  }

  /** Entries of a conversation come in order, and only to who watches it when they are stored or heard. */
  #heard(conversation: ConversationId, elsewhere: boolean, tell: () => void) {
    const waiting = this.#onBus.get(conversation) ?? []
    if (!elsewhere) {
      // Whoever stores an entry has read what comes before it.
      for (const earlier of waiting.splice(0)) earlier()
      return tell()
    }
    const isWatched = () => (this.log.watched.get(this.key(conversation)) ?? 0) > 0
    if (!isWatched()) return
    waiting.push(() => isWatched() && tell())
    this.#onBus.set(conversation, waiting)
    this.turns.soon(() => waiting.shift()?.())
  }

  /** That the reader is in, once more: nothing new. */
  word(conversation: ConversationId) {
    const joinedSeq = this.members.get(conversation)?.joinedSeq
    if (joinedSeq === undefined) return
    this.turns.soon(() => {
      for (const session of this.delivery.of(app, bob)) session.cameInto(conversation, joinedSeq)
    })
  }

  change(conversation: ConversationId, elsewhere: boolean) {
    const entry = this.log.append(this.key(conversation), 'members')
    const joined = !this.members.has(conversation)
    if (joined) this.members.set(conversation, { conversation, joinedSeq: entry.seq })
    else this.members.delete(conversation)
    const told = {
      app,
      conversation,
      seq: entry.seq,
      joined: joined ? [bob as Member] : [],
      left: joined ? [] : [bob as Member],
    }
    const out = { from: entry.seq, isTold: false }
    if (joined) this.out.delete(conversation)
    else this.out.set(conversation, out)
    if (joined && elsewhere && this.isListening)
      this.turns.soon(() => {
        for (const session of this.delivery.of(app, bob)) session.cameInto(conversation, entry.seq)
      })
    this.#heard(conversation, elsewhere, () => {
      this.roster.get(conversation)?.unwatch()
      this.roster.delete(conversation)
      out.isTold = true
      for (const follower of this.#followers) follower(told)
      this.log.publish(this.key(conversation), entry)
    })
  }

  async connect() {
    this.isListening = false
    const listening = this.turns.later(() => {
      this.isListening = true
    })
    const opened = await this.store.open(
      { app, member: bob, clientId: 'x' },
      { clean: false, expirySeconds: 3600, grant: 'g' },
    )
    const connection = ++this.connection
    this.unacked = new Map()
    const session = new Session(opened, {
      log: this.log,
      memberships: this.memberships,
      marks: { delivered() {} },
      delivery: this.delivery,
      others: true,
      listening: () => listening,
      store: this.store,
      scheduler: this.turns,
      limits: { messages: this.window, bytes: 1_000 },
      failed: (where, error) => this.faults.push(`${where}: ${error}`),
      delivered() {},
      lost: () => {},
      stopping: () => false,
      outlet: this.#outlet(connection),
    })
    this.session = session
    this.#controlled = Promise.resolve()
    await Promise.all([session.resume(), !opened.resumed && this.subscribe(session)])
    return session
  }

  /** One after the other, beside what the session takes up. */
  subscribe(session: Session) {
    this.#controlled = this.#controlled.then(() => session.subscribe([['im/u/bob/inbox', { qos: 1 }]]))
    return this.#controlled
  }

  #outlet(connection: number) {
    const world = this
    return {
      get writable() {
        return world.writable
      },
      size: () => 1,
      write(packet: OutboundPublish) {
        if (connection !== world.connection) world.faults.push('a connection that is gone was written to')
        const entry = JSON.parse(Buffer.from(packet.payload).toString()) as {
          kind?: string
          conversation: ConversationId
          seq: number
          from: number
          to: number
          reason?: string
        }
        const gap = entry.kind === 'gap'
        const what = {
          conversation: entry.conversation,
          from: gap ? entry.from : entry.seq,
          seq: gap ? entry.to : entry.seq,
        }
        if (world.unacked.has(packet.packetId)) world.faults.push(`packet id ${packet.packetId} is in use`)
        world.unacked.set(packet.packetId, what)
        if (world.unacked.size > world.window) world.faults.push('more than the window is unacknowledged')
        world.heard.push({ ...what, reason: entry.reason, dup: packet.dup, connection })
        if (entry.reason === 'retention' && entry.to >= world.log.first(world.key(what.conversation)))
          world.faults.push(`${what.conversation}: ${entry.from} to ${entry.to} was told as removed, and is there`)
        const out = world.out.get(what.conversation)
        if (out && (out.isTold || what.seq >= out.from))
          world.faults.push(`delivered ${what.conversation} to one who is not a member`)
      },
    }
  }

  ack(choice: number) {
    const ids = [...this.unacked.keys()]
    const id = ids[choice % Math.max(1, ids.length)]
    if (id === undefined) return
    this.unacked.delete(id)
    this.session?.pump.acked(id)
  }

  /** Lets everything happen, acknowledging all. */
  async settle() {
    let choice = 0
    this.writable = true
    this.session?.pump.drained()
    for (let quiet = 0; quiet < 40; ) {
      while (this.unacked.size > 0) this.ack(0)
      quiet = (await this.turns.step(choice++)) && this.unacked.size > 0 ? 0 : quiet + 1
    }
  }

  async until<T>(work: Promise<T>): Promise<T> {
    let over = false
    const watched = work.finally(() => {
      over = true
    })
    watched.catch(() => {})
    while (!over) {
      if (!(await this.turns.step(0))) await new Promise(resolve => setImmediate(resolve))
    }
    return watched
  }
}
