/** Shapes that several operations share. */
import * as z from 'zod'
import { ConversationId, DeviceId, type EpochMs, GroupId, type Seq, UserId } from '../ids.ts'
import { Entry } from '../messages.ts'

/** A display name: free Unicode, 1 to 128 characters. */
export const DisplayName = z
  .string()
  .trim()
  .min(1)
  .max(128)
  .refine(text => text.isWellFormed(), 'A name must be well-formed Unicode.')
/** Kept to the letter, in no normal form. A lone surrogate has no UTF-8: two passwords would be one. */
export const Password = z
  .string()
  .min(8)
  .max(256)
  .refine(text => text.isWellFormed(), 'A password must be well-formed Unicode.')

export const limit = (max: number, standard: number) => z.coerce.number().int().min(1).max(max).default(standard)
/** Where the page before ended: hand back `next` as it was given. */
export const cursor = z.string().min(1).max(512).optional()

export const pageOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), next: z.string().optional() })

/** Epoch milliseconds or RFC 3339. */
export const Moment = z.union([
  z
    .string()
    .regex(/^\d{1,16}$/)
    .transform(Number),
  z.int().min(0),
  z.iso.datetime({ offset: true }).transform(text => Date.parse(text)),
]) as unknown as z.ZodType<EpochMs, string | number>

export const SeqText = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER)

export const Profile = z.object({
  user: UserId,
  name: z.string(),
  avatar: z.string().optional(),
  about: z.string().optional(),
})
export type Profile = z.output<typeof Profile>

export const Role = z.enum(['owner', 'admin', 'member'])
export type Role = z.output<typeof Role>

/** `invite`: owner and admins add; `members`: every member adds; `open`: anybody may add themselves. */
export const JoinRule = z.enum(['invite', 'members', 'open'])
/** What of the past a new member sees. */
export const HistoryRule = z.enum(['joined', 'all'])

export const Group = z.object({
  group: GroupId,
  name: z.string(),
  conversation: ConversationId,
  owner: UserId,
  join: JoinRule,
  history: HistoryRule,
  memberCount: z.int(),
  createdAt: z.int(),
  about: z.string().optional(),
  avatar: z.string().optional(),
  dismissed: z.literal(true).optional(),
})
export type Group = z.output<typeof Group>

export const GroupMember = z.object({ user: UserId, role: Role, joinedAt: z.int(), mutedUntil: z.int().optional() })
export type GroupMember = z.output<typeof GroupMember>

export const Conversation = z.object({
  conversation: ConversationId,
  name: z.string().optional(),
  last: Entry,
  unread: z.int(),
  readUpTo: z.int(),
  deliveredUpTo: z.int(),
})

export const Device = z.object({
  device: DeviceId,
  name: z.string(),
  conversation: ConversationId,
  owner: UserId,
  group: GroupId.optional(),
  createdAt: z.int(),
})
export type Device = z.output<typeof Device>

export const path = {
  user: { user: UserId },
  group: { group: GroupId },
  device: { device: DeviceId },
  conversation: { conversation: ConversationId },
  entry: {
    conversation: ConversationId,
    seq: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER) as unknown as typeof Seq,
  },
}
export const nothing = z.undefined()
