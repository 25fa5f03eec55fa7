/**
 * A history: what clients did and saw, in the order in which it happened. Written by simulated runs, by tests of real
 * processes and of the cluster; read by the checker. One JSON object a line in a file.
 *
 * `at` is in milliseconds of one clock for the whole history; of two operations with the same `at`, the first in the
 * list came first. A message is known by its `text`, which no two sends share; a repeat is sent with the same text.
 */

/** A send is handed to the network, for the first time or again. */
export interface Sent {
  do: 'sent'
  at: number
  /** The connection it goes through: sends of one connection are stored in this order. */
  connection: string
  from: string
  conversation: string
  text: string
  clientMessageId?: string
  /** Handed over before, on this connection or an earlier one. */
  again?: true
}
/** PUBACK with success, PUBCOMP, or 200/201. `seq` where the answer tells it. */
export interface Acknowledged {
  do: 'acknowledged'
  at: number
  text: string
  seq?: number
}
/** A final refusal: it was not stored. */
export interface Refused {
  do: 'refused'
  at: number
  text: string
  code: string
}
/** A session's CONNACK. `resumed` is Session Present. */
export interface Connected {
  do: 'connected'
  at: number
  connection: string
  session: string
  user: string
  resumed: boolean
}
/** SUBACK of the session's inbox: from now on it gets everything. */
export interface Subscribed {
  do: 'subscribed'
  at: number
  session: string
}
/** The connection ended; `left` where the session ended by the client's will. */
export interface Disconnected {
  do: 'disconnected'
  at: number
  connection: string
  session: string
  left?: true
}
/** An entry, or a gap from `from` to `seq`, came in by a session; `at` is when the server handed it to the network if that is known, else when it came. */
export interface Received {
  do: 'received'
  at: number
  connection: string
  session: string
  user: string
  conversation: string
  seq: number
  kind: string
  /** First of a gap. */
  from?: number
  text?: string
  dup: boolean
}
/** An answered read of history: `items` ascending. */
export interface Read {
  do: 'read'
  at: number
  /** When it was asked for. */
  since: number
  user: string
  conversation: string
  items: readonly { seq: number; text?: string }[]
  /** The newest page: its last item was the conversation's end at some moment between `since` and `at`. */
  newest: boolean
}
/** A change of members was answered with success: `removed` get nothing more of the conversation that is handed to the network later. */
export interface MembersChanged {
  do: 'members'
  at: number
  conversation: string
  added: readonly string[]
  removed: readonly string[]
}
/** Something was broken on purpose, or mended. */
export interface FaultInjected {
  do: 'fault'
  at: number
  what: string
  /** Broken from now on; absent: it is over. */
  begins?: true
}
/** What the log holds at the end of the run, whole; several of one conversation continue each other. */
export interface Log {
  do: 'log'
  at: number
  conversation: string
  entries: readonly LogEntry[]
  /** Those below were removed, and are given here as they were before. */
  first?: number
}
export interface LogEntry {
  seq: number
  /** Messages up to and including this one. */
  n: number
  kind: string
  from: string
  sentAt: number
  text?: string
  clientMessageId?: string
  /** Of a members entry: who is in from it on, and who is not. */
  added?: readonly string[]
  removed?: readonly string[]
}

export type Operation =
  | Sent
  | Acknowledged
  | Refused
  | Connected
  | Subscribed
  | Disconnected
  | Received
  | Read
  | MembersChanged
  | FaultInjected
  | Log
export type History = readonly Operation[]

export const VERDICTS = [
  'lost',
  'doubled',
  'reordered',
  'gap',
  'phantom',
  'not-a-member',
  'undelivered',
  'not-linear',
] as const
export type Verdict = (typeof VERDICTS)[number]
/** One breach, in words that name who, where and what. */
export interface Finding {
  verdict: Verdict
  says: string
}
