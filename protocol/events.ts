/** What the server tells a client beside entries: answers, refusals and live events. None of it is history. */
import * as z from 'zod'
import { ConversationId, Seq, UserId } from './ids.ts'

/** What of the input is wrong, field by field. */
const issues = z.array(z.object({ path: z.array(z.string()), message: z.string() })).optional()

const Reply = z.object({
  kind: z.literal('reply'),
  requestId: z.string(),
  ok: z.literal(true),
  result: z.unknown(),
})
const Failure = z.object({
  kind: z.literal('reply'),
  requestId: z.string(),
  ok: z.literal(false),
  /** A row of the faults. */
  code: z.string(),
  says: z.string(),
  issues,
})
/** A publish that was refused for good, where PUBACK cannot say so (MQTT 3.1.1, QoS 0). */
const Refused = z.object({
  kind: z.literal('refused'),
  code: z.string(),
  says: z.string(),
  issues,
  /** Topic name of the refused publish. */
  topic: z.string(),
  clientMessageId: z.string().optional(),
})
/** Answers and refusals, to the session that asked. */
export const ReplyEvent = z.union([Reply, Failure, Refused])
export type ReplyEvent = z.output<typeof ReplyEvent>

/** How far a member has come. Either only goes up: of two that come out of order the higher one stands. */
const Receipt = z.object({
  kind: z.literal('receipt'),
  conversation: ConversationId,
  user: UserId,
  readUpTo: Seq.optional(),
  deliveredUpTo: Seq.optional(),
})
const Typing = z.object({ kind: z.literal('typing'), conversation: ConversationId, user: UserId })
/** A list of the caller's changed: read it again. */
const Changed = z.object({
  kind: z.literal('changed'),
  what: z.enum(['conversations', 'groups', 'devices', 'profile']),
})
export const LiveEvent = z.discriminatedUnion('kind', [Receipt, Typing, Changed])
export type LiveEvent = z.output<typeof LiveEvent>

export const Presence = z.object({ user: UserId, online: z.boolean(), since: z.int() })
export type Presence = z.output<typeof Presence>
