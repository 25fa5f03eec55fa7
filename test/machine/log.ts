/** What the conversations must hold: every accepted message once, in its sender's order, and who is a member when. */
import type { StoredEntry } from '../../core/entry.ts'

/** A message that a client published, however often it sent it. */
export interface Message {
  text: string
  conversation: string
  from: string
  /** Who publishes it, and its place among what they publish. */
  client: string
  nth: number
  logged: boolean
  /** The sender was a member at some moment while it was under way, and was not at another. */
  wasIn: boolean
  wasOut: boolean
  /** It has no outcome yet. */
  open: boolean
  refused: boolean
}

/** A member from the entry `joined` to just before the entry `left`. */
interface Stay {
  joined: number
  left: number
}

export const GROUP = 'g:ops'
const JOINS: ReadonlySet<string> = new Set(['created', 'added', 'joined'])
const LEAVES: ReadonlySet<string> = new Set(['left', 'removed'])

export interface Changed {
  conversation: string
  seq: number
  joined: readonly string[]
  left: readonly string[]
}

export class Log {
  readonly conversations = new Map<string, StoredEntry[]>()
  readonly messages = new Map<string, Message>()
  /** Members entries of the group that were asked for and are not there yet, `action user`. */
  readonly changes: string[] = []
  notices = 0
  /** What lies below each of them was removed: one bound after the other. */
  readonly trims = new Map<string, number[]>()
  readonly #stays = new Map<string, Stay[]>()
  readonly #last = new Map<string, number>()
  readonly #wrong: (what: string) => void

  constructor(wrong: (what: string) => void) {
    this.#wrong = wrong
  }

  tail(conversation: string): number {
    return this.conversations.get(conversation)?.length ?? 0
  }
  /** The first entry that is still there. */
  first(conversation: string): number {
    return Math.max(1, ...(this.trims.get(conversation) ?? []))
  }
  at(conversation: string, seq: number): StoredEntry | undefined {
    return this.conversations.get(conversation)?.[seq - 1]
  }

  /** The stay of a member that takes in an entry, or the newest one. */
  stay(user: string, conversation: string, seq?: number): Stay | undefined {
    if (conversation !== GROUP) {
      const named = conversation.split(':').slice(1).includes(user)
      const begun = !conversation.startsWith('u:') || this.tail(conversation) > 0
      return named && begun ? { joined: 1, left: Number.POSITIVE_INFINITY } : undefined
    }
    const all = this.#stays.get(user) ?? []
    return seq === undefined ? all.at(-1) : all.find(({ joined, left }) => joined <= seq && seq < left)
  }
  isIn(user: string, conversation: string): boolean {
    return this.stay(user, conversation)?.left === Number.POSITIVE_INFINITY
  }

  /** Who may write: two people's conversation needs no beginning. */
  mayWrite(user: string, conversation: string): boolean {
    return conversation !== GROUP || this.isIn(user, GROUP)
  }

  /** A change of members begins: whoever leaves may not write from some moment on, before the entry is there. */
  asks(action: 'added' | 'removed' | 'left', user: string): void {
    this.changes.push(`${action} ${user}`)
    if (LEAVES.has(action))
      for (const message of this.messages.values())
        if (message.open && message.from === user && message.conversation === GROUP) message.wasOut = true
  }

  published(message: Pick<Message, 'text' | 'conversation' | 'from' | 'client' | 'nth'>): Message {
    const isIn = this.mayWrite(message.from, message.conversation)
    const leaves = this.changes.some(asked => asked === `removed ${message.from}` || asked === `left ${message.from}`)
    const made = {
      ...message,
      logged: false,
      wasIn: isIn,
      wasOut: !isIn || (leaves && message.conversation === GROUP),
      open: true,
      refused: false,
    }
    this.messages.set(message.text, made)
    return made
  }

  /** Takes the next entry that is durable; who comes and goes with it. */
  appended(conversation: string, entry: StoredEntry): Changed {
    const entries = this.conversations.get(conversation) ?? []
    this.conversations.set(conversation, entries)
    if (entry.seq !== entries.length + 1) this.#wrong(`${conversation} has ${entry.seq} behind ${entries.length}`)
    entries.push(entry)
    const changed: Changed = { conversation, seq: entry.seq, joined: [], left: [] }
    if (entry.kind === 'message') this.#message(conversation, entry)
    if (conversation.startsWith('u:') && entry.seq === 1)
      return { ...changed, joined: conversation.split(':').slice(1) }
    if (conversation.startsWith('n:')) this.notices++
    return conversation === GROUP && entry.kind === 'members' ? { ...changed, ...this.#members(entry) } : changed
  }

  #message(conversation: string, { seq, from, entry }: StoredEntry): void {
    const message = this.messages.get(entry.text as string)
    const name = `${conversation} ${seq} ("${entry.text}")`
    if (!message) {
      this.#wrong(`${name} was never published`)
      return
    }
    if (message.logged) this.#wrong(`${name} is there twice`)
    if (message.refused) this.#wrong(`${name} was refused`)
    if (message.conversation !== conversation || message.from !== from) this.#wrong(`${name} is not what was published`)
    if (!this.mayWrite(from, conversation)) this.#wrong(`${name} is of one who is not a member`)
    const of = `${message.client} ${conversation}`
    if (message.nth < (this.#last.get(of) ?? 0)) this.#wrong(`${name} is behind what was published after it`)
    this.#last.set(of, message.nth)
    message.logged = true
  }

  #members({ seq, entry }: StoredEntry): Pick<Changed, 'joined' | 'left'> {
    const users = entry.users as string[]
    const action = entry.action as string
    if (action !== 'created') {
      const asked = this.changes.shift()
      if (asked !== `${action} ${users}`) this.#wrong(`${GROUP} ${seq} says ${action} ${users}, asked for was ${asked}`)
    }
    const joined = JOINS.has(action) ? users : []
    const left = LEAVES.has(action) ? users : []
    for (const user of joined) {
      const stays = this.#stays.get(user) ?? []
      this.#stays.set(user, [...stays, { joined: seq, left: Number.POSITIVE_INFINITY }])
    }
    for (const user of left) {
      const stay = this.#stays.get(user)?.at(-1)
      if (stay) stay.left = seq
    }
    for (const message of this.messages.values()) {
      if (!message.open || message.conversation !== GROUP) continue
      if (joined.includes(message.from)) message.wasIn = true
      if (left.includes(message.from)) message.wasOut = true
    }
    return { joined, left }
  }
}
