/** Conversations: what was said, what is new, who has read it. */
import * as z from 'zod'
import { UserId } from '../ids.ts'
import { Draft, Entry, Gap } from '../messages.ts'
import { Conversation, cursor, limit, Moment, nothing, pageOf, path, SeqText } from './shapes.ts'

const sending = [
  'malformed',
  'too-large',
  'not-a-member',
  'muted',
  'client-message-id-reused',
  'log-unavailable',
  'storage-full',
] as const
const Receipt = z.object({ user: UserId, deliveredUpTo: z.int(), readUpTo: z.int() })

// biome-ignore format: a table, a row a line
export const conversations = {
  listConversations: {
    says: "The caller's conversations, newest first, with last entry, unread and marks.",
    may: 'user', rest: 'GET /conversations',
    query: { limit: limit(500, 50), cursor },
    output: pageOf(Conversation), faults: [],
  },
  getConversation: { says: 'One conversation of the caller.', may: 'member', rest: 'GET /conversations/:conversation', path: path.conversation, output: Conversation.partial({ last: true }), faults: ['not-a-member'] },
  listMessages: {
    says: 'History: ascending after `after`; else the newest below `before` or the end, ascending. `since` is inclusive, `until` exclusive; `from` is one sender.',
    may: 'member', rest: 'GET /conversations/:conversation/messages',
    path: path.conversation,
    query: { after: SeqText.optional(), before: SeqText.optional(), limit: limit(500, 50), from: z.string().min(1).max(80).optional(), since: Moment.optional(), until: Moment.optional(), cursor },
    output: pageOf(z.union([Entry, Gap])), faults: ['not-a-member'],
  },
  sendMessage: {
    says: 'Sends to a conversation. 201 means stored; a repeat of the same clientMessageId answers 200 with the entry stored first.',
    may: 'member', rest: 'POST /conversations/:conversation/messages', status: 201,
    path: path.conversation, body: Draft, output: Entry, faults: [...sending, 'no-such-user', 'no-such-device'],
  },
  sendMessageToUser: {
    says: "Sends to a user, without knowing the conversation's id.",
    may: 'user', rest: 'POST /users/:user/messages', status: 201,
    path: path.user, body: Draft, output: Entry, faults: [...sending, 'no-such-user'],
  },
  markRead: {
    says: 'Marks the conversation as read up to an entry. It never goes back.',
    may: 'member', rest: 'PUT /conversations/:conversation/read', status: 204,
    path: path.conversation, body: z.strictObject({ upTo: z.int().min(0) }), output: nothing, faults: ['not-a-member', 'beyond-the-end'],
  },
  getReceipts: {
    says: 'Which members have an entry, and which have read it: by user id, senders excluded.',
    may: 'member', rest: 'GET /conversations/:conversation/messages/:seq/receipts',
    path: path.entry, query: { limit: limit(500, 100), cursor },
    output: pageOf(Receipt), faults: ['not-a-member', 'no-such-entry'],
  },
  recallMessage: {
    says: 'Takes a message back: the sender within the window, owner and admins of a group at any time. Its place stays as a tombstone.',
    may: 'member', rest: 'POST /conversations/:conversation/messages/:seq/recall', status: 201,
    path: path.entry, output: Entry, faults: ['not-a-member', 'no-such-entry', 'not-allowed', 'already-recalled', 'recall-window-over', 'log-unavailable'],
  },
} as const
