/** What a history says, gathered operation by operation: messages, conversations, sessions and what each of them got. */
import type { Finding, LogEntry, Verdict } from './history.ts'
import { Spans } from './spans.ts'

export interface Options {
  /** How long after a removal was answered something of the conversation may still be handed over. 1 s unless given. */
  slackMs?: number
  /** How long after the last fault a member may wait for an entry. 60 s unless given. */
  settleMs?: number
  /** Old entries are removed: logs may start above 1, and gaps up to what is left are right. */
  retention?: boolean
  /**
   * Clients send again what is unacknowledged in its order and before anything new, and storage fails only by crashing:
   * then also resends do not change the order of what a sender says. Without it only what was sent once is judged.
   */
  resendsInOrder?: boolean
}

/** A finding beyond these of its verdict tells nothing new. */
const MOST = 1_000

export interface Connection {
  name: string
  /** The connection whose unacknowledged messages it sent again, where their order counts. */
  after: Connection | undefined
  /** While a log is judged: the message of this connection that was sent last of those seen. */
  last: Message | undefined
}

export interface Message {
  text: string
  conversation: string
  from: string
  /** Of the first send. */
  connection: Connection | undefined
  /** Place in the history of the first send and of the first acknowledgement; -1 without one. */
  sentIndex: number
  ackedIndex: number
  ackedAt: number
  sends: number
  refusals: number
  /** Its seq as somebody was told, and as it is in the log; 0 where it is not. */
  told: number
  seq: number
  /** The session that got it first, or the user who read it; empty for none. */
  seenBy: string
  seenIn: string
  seenAs: number
  /** The message with the same sender, conversation and clientMessageId that was sent first: both are one. */
  same: Message | undefined
}

/** What one session got of one conversation. */
export interface Feed {
  conversation: Conversation
  session: string
  user: string
  /** Where in the history the session subscribed; what is sent later, it gets. */
  subscribedIndex: number
  delivered: Spans
  /** What came goes on from where it began; otherwise only from the SUBACK. */
  promised: boolean
  /** Told as gaps. */
  covered: Spans
  gaps: { from: number; to: number }[]
  connection: string
  onConnection: Spans
  /** Entries, and gaps by where they end, without what an older connection gave late; and what of it came without DUP. */
  given: Spans
  plain: Spans
  /** By the number of removals of the user that were answered `slackMs` before: the lowest seq delivered since. */
  late: { seq: number; at: number }[]
}

export interface Session {
  name: string
  user: string
  connection: string
  openConnections: Set<string>
  connected: boolean
  connectedAt: number
  subscribedIndex: number
  subscribedAt: number
  feeds: Map<string, Feed>
}

export interface Reading {
  user: string
  since: number
  at: number
  last: number
}

export class Conversation {
  readonly id: string
  log: LogEntry[] | undefined
  /** Entries below were removed, though the history may have them. */
  trimmed = 0
  /** By seq: what somebody was given, and when first. */
  readonly seen: (Message | undefined)[] = []
  readonly seenAt: number[] = []
  /** By seq: what a read gave. */
  readonly read: (Message | undefined)[] = []
  readonly reads: Reading[] = []
  /** In the order in which they were acknowledged. */
  readonly acked: Message[] = []
  /** By user: when removals were answered. */
  readonly removals = new Map<string, number[]>()
  /** By user: the places in the log where they are in, first to last. Filled at the end. */
  readonly members = new Map<string, { from: number; to: number }[]>()
  /** By place in the log: the last place in the history at which this entry or one before it was sent first. */
  sentUpTo: number[] | undefined

  constructor(id: string) {
    this.id = id
  }
  get first(): number {
    return this.log?.[0]?.seq ?? 1
  }
  entry(seq: number): LogEntry | undefined {
    return this.log?.[seq - this.first]
  }
}

export class Run {
  readonly slackMs: number
  readonly settleMs: number
  readonly retention: boolean
  readonly resendsInOrder: boolean
  readonly findings: Finding[] = []
  readonly #found = new Map<Verdict, number>()
  readonly messages = new Map<string, Message>()
  /** By sender, conversation and clientMessageId. */
  readonly named = new Map<string, Message>()
  readonly connections = new Map<string, Connection>()
  readonly conversations = new Map<string, Conversation>()
  readonly sessions = new Map<string, Session>()
  /** Filled at the end. */
  sessionsOf: Map<string, Session[]> | undefined
  /** Also of sessions that are over. */
  readonly feeds: Feed[] = []
  /** What is broken now. */
  readonly faults = new Set<string>()
  faultAt = Number.NEGATIVE_INFINITY
  index = 0
  at = 0

  constructor({ slackMs = 1_000, settleMs = 60_000, retention = false, resendsInOrder = false }: Options) {
    this.slackMs = slackMs
    this.settleMs = settleMs
    this.retention = retention
    this.resendsInOrder = resendsInOrder
  }

  report(verdict: Verdict, says: string): void {
    const count = (this.#found.get(verdict) ?? 0) + 1
    this.#found.set(verdict, count)
    if (count <= MOST) this.findings.push({ verdict, says })
  }

  message(text: string): Message {
    let message = this.messages.get(text)
    if (message) return message
    message = {
      text,
      conversation: '',
      from: '',
      connection: undefined,
      sentIndex: -1,
      ackedIndex: -1,
      ackedAt: Number.POSITIVE_INFINITY,
      sends: 0,
      refusals: 0,
      told: 0,
      seq: 0,
      seenBy: '',
      seenIn: '',
      seenAs: 0,
      same: undefined,
    }
    this.messages.set(text, message)
    return message
  }

  connection(name: string): Connection {
    let connection = this.connections.get(name)
    if (connection) return connection
    connection = { name, after: undefined, last: undefined }
    this.connections.set(name, connection)
    return connection
  }

  conversation(id: string): Conversation {
    let conversation = this.conversations.get(id)
    if (conversation) return conversation
    conversation = new Conversation(id)
    this.conversations.set(id, conversation)
    return conversation
  }

  session(name: string, user: string): Session {
    let session = this.sessions.get(name)
    if (session) return session
    session = {
      name,
      user,
      connection: '',
      openConnections: new Set(),
      connected: false,
      connectedAt: 0,
      subscribedIndex: -1,
      subscribedAt: 0,
      feeds: new Map(),
    }
    this.sessions.set(name, session)
    return session
  }

  feed(session: Session, id: string): Feed {
    let feed = session.feeds.get(id)
    if (feed) return feed
    feed = {
      conversation: this.conversation(id),
      session: session.name,
      user: session.user,
      subscribedIndex: session.subscribedIndex,
      delivered: new Spans(),
      promised: true,
      covered: new Spans(),
      gaps: [],
      connection: '',
      onConnection: new Spans(),
      given: new Spans(),
      plain: new Spans(),
      late: [],
    }
    session.feeds.set(id, feed)
    this.feeds.push(feed)
    return feed
  }
}

export const rootOf = (message: Message): Message => message.same ?? message

export function sight(message: Message, by: string, conversation: string, seq: number): void {
  message.seenBy = by
  message.seenIn = conversation
  message.seenAs = seq
}
export const sightOf = ({ text, seenBy, seenIn, seenAs }: Message) => `${seenBy} got ${seenIn} ${seenAs} “${text}”`
