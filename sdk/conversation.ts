/** One conversation, as an app uses it. */
import type { ConversationId } from '../protocol/ids.ts'
import type { DraftInput, Entry, Gap } from '../protocol/messages.ts'
import type { Request, Result } from '../protocol/operations.ts'
import type { Client } from './client.ts'

export type HistoryRange = Omit<Request<'listMessages'>, 'conversation'>

export interface Conversation {
  readonly conversation: ConversationId
  /**
   * Resolves with the entry when the server has stored it, however long that takes and however often the connection is
   * lost meanwhile; rejects with a Refusal when it never will be. Text may be given as it is.
   */
  send(draft: DraftInput | string): Promise<Entry>
  history(range?: HistoryRange): Promise<{ items: (Entry | Gap)[]; next?: string }>
  /** Marks as read. */
  read(upTo: number): Promise<void>
  recall(seq: number): Promise<Entry>
  receipts(seq: number): Promise<Result<'getReceipts'>>
  info(): Promise<Result<'getConversation'>>
}

export function conversation(client: Client, conversation: ConversationId): Conversation {
  return {
    conversation,
    send: draft => client.send(conversation, draft),
    history: (range = {}) => client.history(conversation, range),
    read: upTo => client.call('markRead', { conversation, upTo }),
    recall: seq => client.call('recallMessage', { conversation, seq }) as Promise<Entry>,
    receipts: seq => client.call('getReceipts', { conversation, seq }),
    info: () => client.call('getConversation', { conversation }),
  }
}
