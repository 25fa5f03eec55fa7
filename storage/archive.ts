/**
 * Everything that a storage keeps, item by item, the same of every engine: for tools that move or copy it, never for
 * features. What an engine derives (indexes), needs only itself (its commits) or is about to remove is not among the items.
 * Contract: test/contracts/archive.ts.
 */
import type { ConversationKey, RowKey, Tail, Version } from '../core/ports.ts'
import type { EpochMs, Sender, Seq } from '../protocol/ids.ts'
import type { EntryKind } from '../protocol/messages.ts'

/** The ends of a conversation's log. Its entries and repeats follow. */
export interface ConversationItem extends Tail {
  kind: 'conversation'
  conversation: ConversationKey
  /** Nothing up to this position is looked up by clientMessageId any more. */
  forgotten: number
}
export interface EntryItem {
  kind: 'entry'
  conversation: ConversationKey
  seq: Seq
  n: number
  entryKind: EntryKind
  from: Sender
  sentAt: EpochMs
  /** Its body was taken back. */
  retracted: boolean
  /** The entry as clients get it. */
  json: string
}
/** What stays of a trimmed entry, for who repeats the message: its place, and of its JSON little more than ids. */
export interface RemainsItem extends Omit<EntryItem, 'kind' | 'retracted'> {
  kind: 'remains'
}
/** What finds a repeat: where the message is, and CRC-32C and length of its draft as it was given. */
export interface RepeatItem {
  kind: 'repeat'
  conversation: ConversationKey
  from: Sender
  clientMessageId: string
  seq: Seq
  crc: number
  length: number
}
export interface RecordItem extends RowKey {
  kind: 'record'
  table: string
  version: Version
  /** The row. */
  json: string
}
export type Item = ConversationItem | EntryItem | RemainsItem | RepeatItem | RecordItem

/** A storage as it was at one moment, whether or not a server goes on writing to it; a cluster has none while servers write. */
export interface Archive {
  /**
   * A few at a time. A conversation comes with what is left of its entries in order and then its repeats; conversations
   * together, and records together; in an order that is the same each time as long as the items are.
   * @throws Fault `log-unavailable`: something is damaged or missing
   */
  items(): AsyncIterable<Item[]>
}

/** A storage that is being filled, and that no server opens before it is finished. */
export interface Restoration extends Archive, AsyncDisposable {
  /** The note beside the last items that are stored; undefined: there are none. */
  noted(): Promise<string | undefined>
  /** Stores items with a note, all or nothing; what was put is durable when `finish` resolves. Order does not matter. */
  put(items: readonly Item[], note: string): Promise<void>
  /** Everything is there: a server may open it. */
  finish(): Promise<void>
}
