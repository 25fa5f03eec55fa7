/**
 * The shapes that storage, transports and the machine give to the rules, and nothing else does.
 * Each has one contract suite in test/contracts, run over every adapter.
 */

import type { LiveEvent } from '../protocol/events.ts'
import type { FaultCode } from '../protocol/faults.ts'
import type { AppId, ConversationId, EpochMs, Member, Sender, Seq, UserId } from '../protocol/ids.ts'
import type { EntryKind } from '../protocol/messages.ts'
import type { Caller } from './caller.ts'
import type { StoredEntry } from './entry.ts'

/** App and conversation in one: `im/g:ops`. */
export type ConversationKey = `${AppId}/${ConversationId}`

export const keyOf = (app: AppId, conversation: ConversationId): ConversationKey => `${app}/${conversation}`
export function splitKey(key: ConversationKey): { app: AppId; conversation: ConversationId } {
  const at = key.indexOf('/')
  return { app: key.slice(0, at) as AppId, conversation: key.slice(at + 1) as ConversationId }
}

// ---- log ----

/** What is to become an entry. The log adds seq, n, id and sentAt. */
export interface EntryDraft {
  kind: EntryKind
  from: Sender
  /** The fields of the entry's kind, JSON-safe; `clientMessageId` among them. */
  body: Readonly<Record<string, unknown>>
}

export interface AppendOptions {
  /** Drops the body of that entry in the same atomic write; it stays as a tombstone. */
  retracts?: Seq
  /**
   * Record changes of the same atomic write, made when the position is known. Called once per write, synchronously.
   * A change whose `expects` does not hold refuses the whole append with Fault `conflict`.
   */
  changes?: (at: { seq: Seq; n: number; sentAt: EpochMs }) => Change[]
}

/** End of a conversation; all zero where nothing was ever appended. */
export interface Tail {
  seq: Seq | 0
  n: number
  sentAt: EpochMs
}

export interface ReadRange {
  /** Exclusive. */
  after?: Seq | 0
  /** Exclusive. */
  before?: Seq
  /** Entries, 1 to 1,000. */
  limit: number
  /** Stops after the entry that reaches this many bytes; at least one entry is given. */
  maxBytes?: number
  /** From the end of the range downwards; the answer is then descending. */
  reverse?: boolean
}

/** Every entry of every conversation, in order. Contract: test/contracts/log.ts. */
export interface MessageLog {
  /**
   * Stores a draft under the conversation's next sequence number, and is durable when it resolves.
   * Calls on one conversation get their numbers in the order of the calls, also when none is awaited.
   * A repeat of a (sender, clientMessageId) in the conversation stores nothing and returns the entry stored first,
   * with `repeated`; with another body it is refused. Remembered for 30 days and 10,000 entries at least.
   * @throws Fault `client-message-id-reused` · `no-such-entry`, `already-recalled` (of `retracts`) · `conflict` (of `changes`)
   * @throws Fault `storage-full`: the disk is at its low-water mark; nothing was stored.
   * @throws Fault `log-unavailable`: stored or not is unknown; repeat it.
   */
  append(conversation: ConversationKey, draft: EntryDraft, options?: AppendOptions): Promise<StoredEntry>

  /** Entries of a range, ascending unless `reverse`. Past either end, none. @throws Fault `log-unavailable`, also for damage. */
  read(conversation: ConversationKey, range: ReadRange): Promise<StoredEntry[]>

  /** Single entries of many conversations in one batched read; in the order asked, `undefined` where there is none. */
  get(wanted: readonly { conversation: ConversationKey; seq: Seq }[]): Promise<(StoredEntry | undefined)[]>

  /** Ends of many conversations in one batched read, in the order asked. */
  tails(conversations: readonly ConversationKey[]): Promise<Tail[]>

  /** First position with `sentAt >= since`; tail + 1 where there is none. */
  seqAt(conversation: ConversationKey, since: EpochMs): Promise<Seq>

  /**
   * Calls back synchronously for every entry that has become durable, in the order of each conversation, before the
   * append of it resolves. Repeats are not told. Returns a function that ends it.
   */
  follow(listener: (conversation: ConversationKey, entry: StoredEntry) => void): () => void
}

// ---- records ----

/** A kind of record. Rows are plain JSON objects. Keys and partitions are text without U+0000. */
export interface Table<Row> {
  readonly name: string
  /** Where else a row is found: kept in step with it by the adapter, in the same atomic write. */
  readonly indexes?: Readonly<Record<string, (row: Row, at: RowKey) => IndexKey | undefined>>
}
export interface RowKey {
  partition: string
  key: string
}
/** A row stands in the index's partition at `sort`, then by its own key. */
export interface IndexKey {
  partition: string
  sort: string
}
export const table = <Row extends object>(name: string, indexes?: Table<Row>['indexes']): Table<Row> =>
  indexes ? { name, indexes } : { name }

/** Counts the writes of a row, from 1. */
export type Version = number
export interface Found<Row> extends RowKey {
  row: Row
  version: Version
  /** Hand to `scan` as `after` to go on behind this row. */
  cursor: string
}

export interface Change extends RowKey {
  table: Table<never>
  /** The new row; absent: the row is removed, or only checked (`check`). */
  row?: object
  /** The version that must be there now, or 0 for none. Without it the change is unconditional. */
  expects?: Version
  check?: true
}
export const put = <Row extends object>(
  to: Table<Row>,
  partition: string,
  key: string,
  row: Row,
  expects?: Version,
): Change => ({ table: to as Table<never>, partition, key, row, ...(expects !== undefined && { expects }) })
export const remove = <Row>(from: Table<Row>, partition: string, key: string, expects?: Version): Change => ({
  table: from as Table<never>,
  partition,
  key,
  ...(expects !== undefined && { expects }),
})
/** Changes nothing; the write is refused unless the row has that version. */
export const check = <Row>(of: Table<Row>, partition: string, key: string, expects: Version): Change => ({
  table: of as Table<never>,
  partition,
  key,
  expects,
  check: true,
})

export interface ScanRange {
  /** Scan this index; `partition` is then the index's. */
  index?: string
  /** Only keys (on an index: sort values) that begin so. */
  prefix?: string
  /** A row's `cursor`, exclusive. */
  after?: string
  /** Rows, 1 to 1,000. */
  limit: number
  reverse?: boolean
}

/** State that is not history. Contract: test/contracts/records.ts. */
export interface Records {
  get<Row>(from: Table<Row>, partition: string, key: string): Promise<Found<Row> | undefined>
  /** In one batched read, in the order asked. */
  getMany<Row>(from: Table<Row>, keys: readonly RowKey[]): Promise<(Found<Row> | undefined)[]>
  /** By key (on an index: by sort value, then key), compared by UTF-8 bytes. */
  scan<Row>(from: Table<Row>, partition: string, range: ScanRange): Promise<Found<Row>[]>
  /**
   * All changes or none, in one atomic write, at most 20,000. `durable: false` may be lost in a crash, as a whole,
   * and never before an earlier durable write is.
   * @throws Fault `conflict`: an `expects` does not hold; nothing was written. · `storage-full` · `log-unavailable`
   */
  write(changes: readonly Change[], options?: { durable?: boolean }): Promise<void>
}

/** Both, over one set of files or one cluster. */
export interface Storage extends AsyncDisposable {
  log: MessageLog
  records: Records
  /** Rejects with Fault `log-unavailable` or `storage-full` when writes would be refused now. */
  ready(): Promise<void>
}

// ---- machine ----

export interface Clock {
  now(): EpochMs
}
/** Clock, timers and turns of the machine; a simulation brings its own. */
export interface Scheduler extends Clock {
  /** Runs once after `ms`; the returned function cancels it. */
  after(ms: number, run: () => void): () => void
  /** Runs after what is at hand now, before any timer. */
  soon(run: () => void): void
}
export interface Random {
  bytes(count: number): Uint8Array
}

/** Passwords, kept as argon2id. @throws Fault `too-many-requests` with `retryAfterMs`: too many are being worked on. */
export interface Passwords {
  hash(password: string): Promise<string>
  /** Takes as long for a hash that is absent. */
  verify(hash: string | undefined, password: string): Promise<boolean>
}
/** What an access token says. */
export interface Claims {
  app: AppId
  user: UserId
  /** The log-in that it belongs to; revoking it ends all of its tokens. */
  grant: string
  expiresAt: EpochMs
}
export interface Tokens {
  sign(claims: Claims): string
  /** @throws Fault `bad-credentials` · `token-expired` */
  verify(token: string): Claims
}

/**
 * What is counted: wrong passwords of an account (`account:{app}/{user}`) and of a network (`guesses:{network}`),
 * registrations and failed log-ins and CONNECTs of a network (`entrance:{network}`).
 */
export type ThrottleKey = `${'account' | 'guesses' | 'entrance'}:${string}`
/**
 * Counts attempts and refuses more of them. An attempt is taken before its outcome is known, so that attempts made at
 * once cannot pass together, and given back when it was no failure.
 */
export interface Throttle {
  /** One attempt of each. @throws Fault `too-many-requests` with `retryAfterMs`, when any has none left; then none is taken. */
  take(...keys: ThrottleKey[]): Promise<void>
  /** What `take` took, as if it had not been. */
  giveBack(...keys: ThrottleKey[]): Promise<void>
  /** All attempts so far. */
  forget(...keys: ThrottleKey[]): Promise<void>
}

// ---- transports ----

/** Whoever is connected now. Calls never throw and never wait: nothing that is durable goes this way. */
export interface Connections {
  /** A live event for every session of the user that listens. */
  tell(app: AppId, user: UserId, event: LiveEvent): void
  /** The device's newest value, to whoever is subscribed to it. */
  retained(app: AppId, topic: string, payload: Uint8Array): void
  /** Ends connections of one who may no longer hold them: of one grant, or all of them. */
  end(app: AppId, member: Member, code: FaultCode, grant?: string): void
}

/** What a transport needs to know of the rules beside `run`. */
export interface Gatekeeper {
  /**
   * Names the caller behind a username (`{user}`, `{app}/{user}`, `{app}/d/{device}`) and a token or key.
   * @throws Fault `bad-credentials` · `token-expired` · `token-revoked` · `too-many-requests`
   */
  connect(username: string, password: string, address: string): Promise<Caller>
  /** Names the caller behind a Bearer token or key. @throws as `connect`. */
  bearer(token: string, address: string): Promise<Caller>
}

/** A conversation that someone is in, from an entry on. */
export interface Membership {
  conversation: ConversationId
  /** The entry that made them a member; what came before is never delivered. */
  joinedSeq: Seq
}
export interface Memberships {
  /** Page of a member's conversations, a user's notices among them, in no order that means anything; `next` is absent at the end. */
  of(app: AppId, member: Member, after?: string): Promise<{ items: Membership[]; next?: string }>
  /** Their place in one conversation now. */
  get(app: AppId, member: Member, conversation: ConversationId): Promise<Membership | undefined>
  /**
   * Calls back synchronously when an entry that changes who is in has become durable, before the entry is delivered:
   * `joined` get it and what follows, `left` get nothing from it on.
   */
  follow(
    listener: (change: {
      app: AppId
      conversation: ConversationId
      seq: Seq
      joined: Member[]
      left: Member[]
    }) => void,
  ): () => void
}

/** Newest values, kept over restarts and handed to whoever subscribes. */
export interface RetainedValues {
  /** Those of the topics that a filter takes and the member may read now, by topic, at most 100 a page. */
  of(
    app: AppId,
    member: Member,
    filter: string,
    after?: string,
  ): Promise<{ items: { topic: string; payload: Uint8Array }[]; next?: string }>
}

/** Told by the transport when a member's session acknowledged entries; positions only ever go up. */
export interface DeliveryMarks {
  delivered(app: AppId, member: Member, conversation: ConversationId, upTo: Seq): void
}
