/** A reader of the made-up run: a session that is given each entry once, and again what a cut or a crash brings back. */
import type { Chance } from '../support/proof.ts'
import type { LogEntry, Operation } from './history.ts'

export const GROUP = 'g:ops'
export const PAIR = 'u:alice:bob'

interface Cursor {
  sent: number
  acked: number
  /** Of what is acknowledged, what survives a crash. */
  kept: number
  /** Up to here, it may have had what is not acknowledged: it comes with DUP. */
  mayHave: number
  /** The entry with which the user came in. */
  joined: number
  /** The user is not in. */
  out: boolean
}
/** The run that it reads in. */
interface World {
  readonly chance: Chance
  readonly history: Operation[]
  readonly logs: ReadonlyMap<string, LogEntry[]>
  /** Of the group. */
  readonly members: ReadonlySet<string>
  now(): number
  newConnection(): string
}

export class GoodReader {
  readonly name: string
  readonly user: string
  connection: string | undefined
  readonly #cursors = new Map<string, Cursor>()
  readonly #world: World

  constructor(name: string, user: string, world: World) {
    this.name = name
    this.user = user
    this.#world = world
  }

  connect(): void {
    const { history } = this.#world
    const { name: session, user } = this
    const resumed = this.#cursors.size > 0
    const connection = this.#world.newConnection()
    this.connection = connection
    history.push({ do: 'connected', at: this.#world.now(), connection, session, user, resumed })
    if (resumed) {
      for (const [conversation, cursor] of this.#cursors) {
        if (cursor.out) continue
        const { sent } = cursor
        cursor.sent = cursor.acked
        while (cursor.sent < sent) this.#give(conversation, true)
      }
      return
    }
    history.push({ do: 'subscribed', at: this.#world.now(), session })
    for (const conversation of [GROUP, PAIR]) this.#follow(conversation)
  }

  #follow(conversation: string): void {
    const { logs, members } = this.#world
    if (conversation === PAIR ? !PAIR.includes(this.user) : !members.has(this.user)) return
    const tail = logs.get(conversation)?.length ?? 0
    this.#cursors.set(conversation, { sent: tail, acked: tail, kept: tail, mayHave: 0, joined: 1, out: false })
  }

  disconnect(): void {
    const { connection, name: session } = this
    if (!connection) return
    this.connection = undefined
    this.keep()
    this.#world.history.push({ do: 'disconnected', at: this.#world.now(), connection, session })
  }

  /** What is acknowledged survives a crash from here on. */
  keep(): void {
    for (const cursor of this.#cursors.values()) cursor.kept = cursor.acked
  }

  crash(): void {
    const { connection, name: session } = this
    this.#world.history.push({
      do: 'disconnected',
      at: this.#world.now(),
      connection: connection as string,
      session,
    })
    this.connection = undefined
    for (const cursor of this.#cursors.values()) {
      cursor.mayHave = Math.max(cursor.mayHave, cursor.sent)
      cursor.sent = cursor.acked = cursor.kept
    }
  }

  /** Gives what is next, and takes an acknowledgement, mostly. */
  deliver(conversation: string): void {
    const { chance, logs } = this.#world
    const cursor = this.#cursors.get(conversation)
    const log = logs.get(conversation) ?? []
    if (!cursor || cursor.out || !this.connection) return
    for (let count = chance.below(6); count > 0 && cursor.sent < log.length; count--) this.#give(conversation, false)
    if (chance.happens(0.7)) cursor.acked = cursor.sent - chance.below(2) * (cursor.sent > cursor.acked ? 1 : 0)
  }

  /** Gives all that there is. */
  finish(): void {
    for (const conversation of this.#cursors.keys()) {
      const cursor = this.#cursors.get(conversation)
      while (cursor && cursor.sent < (this.#world.logs.get(conversation)?.length ?? 0)) this.#give(conversation, false)
    }
  }

  #give(conversation: string, again: boolean): void {
    const { name: session, user, connection } = this
    const { history, logs } = this.#world
    const cursor = this.#cursors.get(conversation)
    if (!cursor || !connection) return
    const dup = again || cursor.sent < cursor.mayHave
    const common = { do: 'received', at: this.#world.now(), connection, session, user, conversation, dup } as const
    if (cursor.sent + 1 < cursor.joined) {
      history.push({ ...common, kind: 'gap', from: cursor.sent + 1, seq: cursor.joined - 1 })
      cursor.sent = cursor.joined - 1
      return
    }
    const log = logs.get(conversation) as LogEntry[]
    const { seq, kind, text } = log[cursor.sent] as LogEntry
    history.push({ ...common, seq, kind, ...(text !== undefined && { text }) })
    cursor.sent = seq
  }

  /** The user came into the group with that entry, or left it. */
  changed(seq: number, left: boolean): void {
    const before = seq - 1
    const cursor = this.#cursors.get(GROUP) ?? {
      sent: before,
      acked: before,
      kept: before,
      mayHave: 0,
      joined: seq,
      out: left,
    }
    this.#cursors.set(GROUP, cursor)
    cursor.out = left
    // What was in flight is not given again.
    if (left) cursor.acked = cursor.sent
    else cursor.joined = seq
  }
}
