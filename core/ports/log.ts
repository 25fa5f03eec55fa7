/** The log: every entry of every conversation. */
import type { AppId, ConversationId, EpochMs, Sender, Seq } from '../../protocol/ids.ts'
import type { EntryKind } from '../../protocol/messages.ts'
import type { StoredEntry } from '../entry.ts'
import type { Change } from './records.ts'

/** App and conversation in one: `im/g:ops`. */
export type ConversationKey = `${AppId}/${ConversationId}`

export const keyOf = (app: AppId, conversation: ConversationId): ConversationKey => `${app}/${conversation}`
export function splitKey(key: ConversationKey): { app: AppId; conversation: ConversationId } {
  const at = key.indexOf('/')
  return { app: key.slice(0, at) as AppId, conversation: key.slice(at + 1) as ConversationId }
}

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
   * Record changes of the same atomic write, made when the position is known. Called synchronously; again for another
   * position where somebody else was first, and what it gives last is what is made.
   * A change whose `expects` does not hold refuses the whole append with Fault `conflict`.
   */
  changes?: (at: { seq: Seq; n: number; sentAt: EpochMs }) => Change[]
  /**
   * Where other nodes append as well: asked before the entry gets its place, when every entry before it has been told, and
   * again when another came between. What it throws refuses the append. The only node has judged before it called.
   */
  judge?: () => void | Promise<void>
}

/** Ends of a conversation; where nothing was ever appended, all zero but for `first`. */
export interface Tail {
  seq: Seq | 0
  n: number
  sentAt: EpochMs
  /** The first entry that was not trimmed; 1 where none was. */
  first: Seq
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

  /**
   * Entries of a range, ascending unless `reverse`. Past either end, none: a range that begins before the first entry gives
   * what is left of it. @throws Fault `log-unavailable`, also for damage.
   */
  read(conversation: ConversationKey, range: ReadRange): Promise<StoredEntry[]>

  /** Single entries of many conversations in one batched read; in the order asked, `undefined` where there is none. */
  get(wanted: readonly { conversation: ConversationKey; seq: Seq }[]): Promise<(StoredEntry | undefined)[]>

  /** Ends of many conversations in one batched read, in the order asked. */
  tails(conversations: readonly ConversationKey[]): Promise<Tail[]>

  /** First position that is still there with `sentAt >= since`; tail + 1 where there is none. */
  seqAt(conversation: ConversationKey, since: EpochMs): Promise<Seq>

  /**
   * Removes the entries below a position for good: when it resolves no reader gets them any more, also after a crash. All
   * else stays as it was: the last entry, which is never removed, numbers and counts, and what finds repeats. A repeat of a
   * removed entry gets its tombstone, with `"retracted": "retention"`. An engine may keep some more entries than it must.
   * @throws Fault `log-unavailable`: removed or not is unknown; repeat it.
   */
  trim(conversation: ConversationKey, below: Seq): Promise<void>

  /**
   * Calls back synchronously for every entry that has become durable, in the order of each conversation, before the
   * append of it resolves: for entries that are appended here, and, of conversations that are watched or were appended to
   * here lately, for those that other nodes append. Repeats are not told. `elsewhere`: another node may have appended it. `lost`: some entries of a conversation may not be
   * told, and what was read of it before the call may be old. An append's `changes` are asked for when all entries before
   * it have been told. Returns a function that ends it.
   */
  follow(
    listener: (conversation: ConversationKey, entry: StoredEntry, elsewhere?: true) => void,
    lost?: (conversation: ConversationKey) => void,
  ): () => void

  /**
   * Until the returned function is called, followers are told of entries that other nodes append. It begins before long:
   * `lost` is called when it does, and what is read from then on and what is told have no gap between them. While the nodes
   * cannot reach each other it comes late.
   */
  watch(conversation: ConversationKey): () => void
}
