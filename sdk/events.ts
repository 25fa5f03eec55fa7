/** What a client tells the app. */
import type { LiveEvent } from '../protocol/events.ts'
import type { ConversationId } from '../protocol/ids.ts'
import type { Entry } from '../protocol/messages.ts'
import type { Tokens } from './account.ts'
import type { GapEvent } from './inbox.ts'
import type { Sent } from './outbox.ts'
import type { Refusal } from './refusal.ts'

type Live<Kind extends LiveEvent['kind']> = Extract<LiveEvent, { kind: Kind }>

/**
 * Listeners of `entry`, `message` and `gap` may return a promise: the next of that conversation comes when it is settled,
 * and the server is told only then.
 */
export interface ClientEvents {
  /** Every entry of every conversation, own messages included: in order, exactly once. */
  entry: Entry
  /** The entries that are messages. */
  message: Entry & { kind: 'message' }
  /** Comes in place of entries that this client will never get. */
  gap: GapEvent
  receipt: Live<'receipt'>
  typing: Live<'typing'>
  changed: Live<'changed'>
  /** Every live event, also of kinds that this version does not know. */
  live: { kind: string; [field: string]: unknown }
  /** A message of this client was stored. */
  sent: Entry
  /** A message of this client was refused for good. */
  refused: { refusal: Refusal; conversation: ConversationId; draft: Sent }
  connected: { sessionPresent: boolean }
  /** `again`: the client goes on trying. */
  disconnected: { refusal: Refusal; again: boolean }
  /** Keep these for the next start; nothing when the log-in has ended. */
  tokens: Tokens | undefined
  /** What a listener or the store threw. */
  error: unknown
}
