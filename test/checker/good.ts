/** A made-up run that keeps the promise, by a seed: what the checker must find nothing in. */
import { Chance } from '../support/proof.ts'
import { GoodReader, GROUP, PAIR } from './good-reader.ts'
import type { LogEntry, Operation } from './history.ts'

const USERS = ['alice', 'bob', 'carol', 'dave']
/** Most that a sender has unacknowledged. */
const PIPELINE = 4

interface Waiting {
  text: string
  conversation: string
  clientMessageId?: string
  stored?: LogEntry
}
interface Sender {
  name: string
  user: string
  connection: string
  count: number
  waiting: Waiting[]
}

class Good {
  readonly chance: Chance
  readonly history: Operation[] = []
  readonly logs = new Map<string, LogEntry[]>()
  readonly members = new Set(USERS)
  readonly senders: Sender[]
  readonly readers: GoodReader[]
  at = 1_000
  #connections = 0

  constructor(seed: number) {
    this.chance = new Chance(seed)
    this.senders = USERS.slice(0, 3).map((user, i) => ({
      name: `s${i}`,
      user,
      connection: this.newConnection(),
      count: 0,
      waiting: [],
    }))
    this.readers = USERS.flatMap((user, i) =>
      [`${user}-phone`, ...(i === 1 ? ['bob-desk'] : [])].map(name => new GoodReader(name, user, this)),
    )
    this.#store(GROUP, { kind: 'members', from: 'alice', added: USERS })
  }

  newConnection = () => `c${++this.#connections}`
  /** Between any two moments some time may pass. */
  now = () => (this.at += this.chance.below(3))

  play(operations: number): Operation[] {
    for (const reader of this.readers) reader.connect()
    while (this.history.length < operations) this.step()
    this.end()
    return this.history
  }

  step(): void {
    const { chance } = this
    const reader = chance.of(this.readers)
    this.now()
    const dice = chance.below(200)
    if (dice < 70) this.send(chance.of(this.senders))
    else if (dice < 130) this.store(chance.of(this.senders))
    else if (dice < 180) reader.deliver(chance.of([GROUP, PAIR]))
    else if (dice < 185) reader.connection ? reader.disconnect() : reader.connect()
    else if (dice < 190) this.read(chance.of(['alice', 'bob']))
    else if (dice < 194) reader.keep()
    else if (dice < 197) this.change(chance.of(['carol', 'dave']))
    else if (dice < 198) this.crash()
    else this.cutSender(chance.of(this.senders))
  }

  send(sender: Sender): void {
    if (sender.waiting.length >= PIPELINE) return
    const conversation = sender.user !== 'carol' && this.chance.happens(0.3) ? PAIR : GROUP
    if (conversation === GROUP && !this.members.has(sender.user)) return
    const text = `${sender.name} says ${++sender.count}`
    const named = this.chance.happens(0.5) ? { clientMessageId: `m${sender.count}` } : {}
    const waiting: Waiting = { text, conversation, ...named }
    sender.waiting.push(waiting)
    this.#hand(sender, waiting)
  }

  #hand(sender: Sender, { text, conversation, clientMessageId }: Waiting, again = false): void {
    const { connection, user: from } = sender
    const named = clientMessageId === undefined ? {} : { clientMessageId }
    const how = again ? { again } : {}
    this.history.push({ do: 'sent', at: this.now(), connection, from, conversation, text, ...named, ...how })
  }

  #store(conversation: string, what: Partial<LogEntry> & { kind: string; from: string }): LogEntry {
    const log = this.logs.get(conversation) ?? []
    this.logs.set(conversation, log)
    const n = (log.at(-1)?.n ?? 0) + (what.kind === 'message' ? 1 : 0)
    const entry: LogEntry = { seq: log.length + 1, n, sentAt: this.now(), ...what }
    log.push(entry)
    return entry
  }

  /** The oldest that waits is stored, or refused, and answered, mostly. */
  store(sender: Sender): void {
    const waiting = sender.waiting.find(({ stored }) => !stored)
    if (waiting && this.chance.happens(0.6)) {
      const { text, conversation, clientMessageId } = waiting
      if (conversation === GROUP && !this.members.has(sender.user)) {
        sender.waiting.splice(sender.waiting.indexOf(waiting), 1)
        this.history.push({ do: 'refused', at: this.now(), text, code: 'not-a-member' })
        return
      }
      const named = clientMessageId === undefined ? {} : { clientMessageId }
      waiting.stored = this.#store(conversation, { kind: 'message', from: sender.user, text, ...named })
    }
    const [first] = sender.waiting
    if (!first?.stored || this.chance.happens(0.3)) return
    sender.waiting.shift()
    const told = this.chance.happens(0.3) ? { seq: first.stored.seq } : {}
    this.history.push({ do: 'acknowledged', at: this.now(), text: first.text, ...told })
  }

  /** What is unacknowledged goes out again, in its order. */
  cutSender(sender: Sender): void {
    sender.connection = this.newConnection()
    for (const waiting of sender.waiting) this.#hand(sender, waiting, true)
  }

  change(user: string): void {
    const isIn = this.members.has(user)
    if (isIn) this.members.delete(user)
    else this.members.add(user)
    const change = { added: isIn ? [] : [user], removed: isIn ? [user] : [] }
    const { seq } = this.#store(GROUP, { kind: 'members', from: 'alice', ...change })
    for (const reader of this.readers.filter(one => one.user === user)) reader.changed(seq, isIn)
    this.history.push({ do: 'members', at: this.now(), conversation: GROUP, ...change })
  }

  /** Readers may get again what they acknowledged last; senders repeat what waits. */
  crash(): void {
    this.history.push({ do: 'fault', at: this.now(), what: 'crash', begins: true })
    const hit = this.readers.filter(({ connection }) => connection)
    for (const reader of hit) reader.crash()
    this.history.push({ do: 'fault', at: this.now(), what: 'crash' })
    for (const sender of this.senders) this.cutSender(sender)
    for (const reader of hit) if (this.chance.happens(0.7)) reader.connect()
  }

  read(user: string): void {
    const since = ++this.at
    const conversation = this.chance.of([GROUP, PAIR])
    const items = (this.logs.get(conversation) ?? [])
      .slice(-1 - this.chance.below(20))
      .map(({ seq, text }) => ({ seq, ...(text !== undefined && { text }) }))
    this.history.push({ do: 'read', at: this.now(), since, user, conversation, items, newest: true })
  }

  end(): void {
    for (const user of USERS) if (!this.members.has(user)) this.change(user)
    for (const reader of this.readers) {
      if (!reader.connection) reader.connect()
      reader.finish()
    }
    this.at += 60_000
    for (const [conversation, entries] of this.logs)
      this.history.push({ do: 'log', at: this.now() + 3, conversation, entries })
  }
}

export const goodHistory = (seed: number, operations = 300): Operation[] => new Good(seed).play(operations)
