/**
 * Session, delivery and pump against a model, with every answer of log and storage held back until the run chooses it:
 * append ∥ subscribe ∥ resume ∥ leave ∥ acknowledge in any order, here or on another node, whose word comes late.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Delivery } from '../broker/delivery.ts'
import { Session } from '../broker/session.ts'
import { SessionStore } from '../broker/sessions.ts'
import type { OutboundPublish } from '../broker/wire.ts'
import { StoredEntry } from '../core/entry.ts'
import type {
  Change,
  ConversationKey,
  Found,
  Membership,
  Memberships,
  MessageLog,
  Records,
  ScanRange,
  Scheduler,
  Table,
} from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import type { AppId, ConversationId, Member, Seq, UserId } from '../protocol/ids.ts'

const app = 'im' as AppId
const bob = 'bob' as UserId
const alice = 'alice' as UserId
const CONVERSATIONS = ['g:a', 'g:b', 'g:c'] as ConversationId[]

/** Decides when everything that waits goes on. */
class Turns implements Scheduler {
  #time = 1_000
  readonly #ready: (() => void)[] = []
  readonly #timers: { at: number; run: () => void }[] = []
  now() {
    return this.#time
  }
  after(ms: number, run: () => void) {
    const timer = { at: this.#time + ms, run }
    this.#timers.push(timer)
    return () => {
      const i = this.#timers.indexOf(timer)
      if (i >= 0) this.#timers.splice(i, 1)
    }
  }
  soon(run: () => void) {
    this.#ready.push(run)
  }
  /** Answers when its turn comes, with what is true then. */
  later<T>(answer: () => T): Promise<T> {
    return new Promise((resolve, reject) =>
      this.#ready.push(() => {
        try {
          resolve(answer())
        } catch (error) {
          reject(error)
        }
      }),
    )
  }
  /** Lets one thing go on; whether there was any. */
  async step(choice: number): Promise<boolean> {
    if (this.#ready.length === 0) {
      const next = this.#timers.sort((a, b) => a.at - b.at).shift()
      if (!next) return false
      this.#time = Math.max(this.#time, next.at)
      next.run()
    } else this.#ready.splice(choice % this.#ready.length, 1)[0]?.()
    await new Promise(resolve => setImmediate(resolve))
    return true
  }
}

class MemoryLog implements Pick<MessageLog, 'read' | 'get' | 'tails' | 'follow' | 'watch'> {
  readonly entries = new Map<ConversationKey, StoredEntry[]>()
  readonly #first = new Map<ConversationKey, number>()
  readonly #turns: Turns
  readonly #followers: ((conversation: ConversationKey, entry: StoredEntry) => void)[] = []
  readonly #losers: ((conversation: ConversationKey) => void)[] = []
  constructor(turns: Turns) {
    this.#turns = turns
  }
  /** How often each is watched. */
  readonly watched = new Map<ConversationKey, number>()
  watch(conversation: ConversationKey) {
    const count = this.watched.get(conversation) ?? 0
    this.watched.set(conversation, count + 1)
    // What passed before it was watched is looked for.
    if (count === 0) this.lost(conversation)
    return () => this.watched.set(conversation, (this.watched.get(conversation) ?? 0) - 1)
  }
  /** Entries may have passed unheard. */
  lost(conversation: ConversationKey) {
    this.#turns.soon(() => {
      for (const lost of this.#losers) lost(conversation)
    })
  }
  of(conversation: ConversationKey) {
    const list = this.entries.get(conversation) ?? []
    this.entries.set(conversation, list)
    return list
  }
  append(conversation: ConversationKey, kind: 'message' | 'members' = 'message') {
    const list = this.of(conversation)
    const seq = (list.length + 1) as Seq
    const entry = new StoredEntry(
      { seq, n: seq, kind, from: alice, sentAt: seq },
      // Some fit in what the window has left, and some do not.
      Buffer.from(JSON.stringify({ conversation: conversation.slice(3), seq, text: 'x'.repeat((seq * 137) % 700) })),
    )
    list.push(entry)
    return entry
  }
  first(conversation: ConversationKey) {
    return this.#first.get(conversation) ?? 1
  }
  /** Removes a share of what is there, never the last entry. */
  trim(conversation: ConversationKey, share: number) {
    const first = this.first(conversation)
    this.#first.set(conversation, first + Math.floor(Math.max(0, this.of(conversation).length - first) * share))
  }
  publish(conversation: ConversationKey, entry: StoredEntry) {
    for (const follower of this.#followers) follower(conversation, entry)
  }
  read(
    conversation: ConversationKey,
    { after = 0, before, limit }: { after?: number; before?: number; limit: number },
  ) {
    return this.#turns.later(() =>
      this.of(conversation)
        .filter(({ seq }) => seq > after && seq >= this.first(conversation) && (before === undefined || seq < before))
        .slice(0, limit),
    )
  }
  get(wanted: readonly { conversation: ConversationKey; seq: Seq }[]) {
    return this.#turns.later(() =>
      wanted.map(({ conversation, seq }) =>
        seq < this.first(conversation) ? undefined : this.of(conversation)[seq - 1],
      ),
    )
  }
  tails(conversations: readonly ConversationKey[]) {
    return this.#turns.later(() =>
      conversations.map(key => ({ seq: this.of(key).length as Seq, n: 0, sentAt: 0, first: this.first(key) as Seq })),
    )
  }
  follow(
    listener: (conversation: ConversationKey, entry: StoredEntry) => void,
    lost: (conversation: ConversationKey) => void,
  ) {
    this.#followers.push(listener)
    this.#losers.push(lost)
    return () => {}
  }
}

class MemoryRecords implements Records {
  readonly rows = new Map<string, { row: unknown; version: number }>()
  readonly #turns: Turns
  constructor(turns: Turns) {
    this.#turns = turns
  }
  get<Row>(from: Table<Row>, partition: string, key: string) {
    return this.#turns.later(() => this.#found<Row>(from, partition, key))
  }
  getMany<Row>(): Promise<(Found<Row> | undefined)[]> {
    throw new Error('not asked for')
  }
  scan<Row>(from: Table<Row>, partition: string, { after }: ScanRange) {
    return this.#turns.later(() => {
      const prefix = `${from.name}\0${partition}\0`
      const keys = [...this.rows.keys()]
        .filter(key => key.startsWith(prefix))
        .map(key => key.slice(prefix.length))
        .sort()
      return keys
        .filter(key => after === undefined || key > after)
        .flatMap(key => this.#found<Row>(from, partition, key) ?? [])
    })
  }
  write(changes: readonly Change[]) {
    return this.#turns.later(() => {
      for (const change of changes) {
        const version = this.rows.get(nameOf(change))?.version ?? 0
        if (change.expects !== undefined && change.expects !== version) throw new Fault('conflict')
      }
      for (const change of changes) {
        if (change.check) continue
        const version = this.rows.get(nameOf(change))?.version ?? 0
        const { row, rank = version + 1 } = change
        if (rank < version) continue
        // What was removed keeps its rank.
        if (row || change.rank !== undefined)
          this.rows.set(nameOf(change), { row: structuredClone(row), version: rank })
        else this.rows.delete(nameOf(change))
      }
    })
  }
  #found<Row>(from: Table<Row>, partition: string, key: string): Found<Row> | undefined {
    const found = this.rows.get(`${from.name}\0${partition}\0${key}`)
    return found?.row ? { partition, key, cursor: key, row: found.row as Row, version: found.version } : undefined
  }
}
const nameOf = ({ table, partition, key }: Change) => `${table.name}\0${partition}\0${key}`

interface Heard {
  conversation: ConversationId
  from: number
  seq: number
  /** Of a gap. */
  reason: string | undefined
  dup: boolean
  connection: number
}

/** What the reader saw, and what is true. */
class World {
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

const RUNS = Number(process.env.RUNS ?? 1_000)
const someCommands = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('say', 'say elsewhere'), at: fc.nat(2) }) },
    { weight: 6, arbitrary: fc.record({ do: fc.constant('step' as const), at: fc.nat(50) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('ack' as const), at: fc.nat(50) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('change', 'change elsewhere'), at: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('look', 'word', 'lost'), at: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('retain' as const), at: fc.nat(11) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('reconnect' as const), at: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('subscribe' as const), at: fc.nat(1) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('stall' as const), at: fc.nat(1) }) },
  ),
  { maxLength: 120, size: 'max' },
)

type Command = { do: string; at: number }

/** Found by long runs, and played each time: "reconnect 0, step 1" and so on. */
const FOUND = [
  // Came into a conversation before other nodes told this one of the reader.
  'change 0, reconnect 0, step 1, step 3, step 9, change elsewhere 0',
  // Came back, and then acknowledged what was before.
  'say 1, change 1, stall 0, change elsewhere 1, stall 0, step 0, subscribe 0, ack 0, reconnect 1',
].map((words): [Command[]] => [words.split(', ').map(word => ({ do: word.slice(0, -2), at: Number(word.slice(-1)) }))])

async function play(commands: readonly Command[], kills: boolean) {
  const world = new World()
  for (const conversation of CONVERSATIONS.slice(0, 2)) world.change(conversation, false)
  await world.until(world.connect())
  const start = new Map(CONVERSATIONS.map(conversation => [conversation, world.log.of(world.key(conversation)).length]))
  for (const { do: what, at } of commands) {
    const conversation = CONVERSATIONS[at % 3] as ConversationId
    if (what.startsWith('say')) world.say(conversation, what.endsWith('elsewhere'))
    else if (what === 'step') await world.turns.step(at)
    else if (what === 'ack') world.ack(at)
    else if (what.startsWith('change')) world.change(conversation, what.endsWith('elsewhere'))
    else if (what === 'word') world.word(conversation)
    else if (what === 'lost') world.log.lost(world.key(conversation))
    else if (what === 'look') void world.memberships.get(app, bob, conversation)
    else if (what === 'retain') world.log.trim(world.key(conversation), 1 - (at >> 2) * 0.3)
    else if (what === 'subscribe') {
      if (world.session) world.working = Promise.all([world.working, world.subscribe(world.session)])
      world.working.catch(() => {})
    } else if (what === 'stall') {
      world.writable = !world.writable
      if (world.writable) world.session?.pump.drained()
    } else {
      await world.until(world.working)
      const old = world.session as Session
      if (kills && at === 0) {
        world.killed = true
        old.pump.close()
        world.delivery.remove(old.following)
      } else await world.until(old.close({ expirySeconds: 3600, mayRepeat: false }))
      world.session = undefined
      world.unacked = new Map()
      // What follows comes between its looks at storage.
      world.working = world.connect()
      world.working.catch(() => {})
    }
  }
  await world.until(world.working)
  await world.settle()
  assert.deepEqual(
    world.faults.filter(fault => !(kills && fault.includes('Another change came first'))),
    [],
  )
  await world.until((world.session as Session).close({ expirySeconds: 3600, mayRepeat: false }))
  for (const conversation of CONVERSATIONS) judge(world, conversation, start.get(conversation) as number)
}

/** In order, all of it, and once as long as nothing was killed. */
function judge(world: World, conversation: ConversationId, start: number) {
  const heard = world.heard.filter(entry => entry.conversation === conversation)
  const fresh = heard.filter(({ dup }) => !dup)
  for (let i = 1; i < fresh.length; i++) {
    const [before, now] = [fresh[i - 1], fresh[i]] as [(typeof fresh)[0], (typeof fresh)[0]]
    // The gap of who was not a member may take in what was sent and not acknowledged when the reader left.
    const ordered =
      (now.reason === 'not-a-member' ? now.seq : now.from) > before.seq ||
      (world.killed && now.connection > before.connection)
    assert.ok(ordered, `${conversation}: ${now.from} came after ${before.seq}`)
  }
  const joined = world.members.get(conversation)?.joinedSeq
  if (joined === undefined) return
  const had = new Set(heard.flatMap(({ from, seq }) => Array.from({ length: seq - from + 1 }, (_, i) => from + i)))
  const tail = world.log.of(world.key(conversation)).length
  // Who was in from the start is told of what they missed between leaving and rejoining, too.
  const from = conversation === CONVERSATIONS[2] ? Math.max(joined, start + 1) : start + 1
  // All is acknowledged: nothing is left above the prefix.
  const cursor = world.records.rows.get(`cursors\0im/bob/x\0${conversation}`)?.row
  assert.equal(JSON.stringify(cursor && { ...cursor, e: 0 }), JSON.stringify({ e: 0, a: tail }))
  for (let seq = from; seq <= tail; seq++)
    assert.ok(had.has(seq), `${conversation}: ${seq} of ${tail} was never delivered`)
}

test('a session gets every entry in order and once, whatever comes between', async () => {
  await fc.assert(
    fc.asyncProperty(someCommands, commands => play(commands, false)),
    { numRuns: RUNS, examples: FOUND, includeErrorInReport: true },
  )
})

test('a session that is killed repeats some entries, and never loses one', async () => {
  await fc.assert(
    fc.asyncProperty(someCommands, commands => play(commands, true)),
    { numRuns: RUNS, examples: FOUND, includeErrorInReport: true },
  )
})

test('a new session is granted nothing before its node hears of the member', async () => {
  const world = new World()
  let granted = false
  const connected = world.connect().then(() => {
    granted = true
  })
  // What was asked for last is answered first.
  const last = 720_719
  while (!world.isListening) {
    assert.equal(granted, false)
    await world.turns.step(last)
  }
  await world.until(connected)
})
