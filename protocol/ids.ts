/** Identities, and how a conversation's id is made of them. Ids are never given again, also after deletion. */
import * as z from 'zod'

const NAME = '[a-z0-9][a-z0-9._-]{0,63}'
const nameId = (what: string) =>
  z
    .string()
    .regex(
      new RegExp(`^${NAME}$`),
      `A ${what} id is 1 to 64 of a-z, 0-9, '.', '_', '-', and begins with a letter or digit.`,
    )

/** Tenant. Nothing of one app is ever seen by another. */
export const AppId = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,31}$/, "An app id is 1 to 32 of a-z, 0-9, '-', and begins with a letter.")
  .brand<'AppId'>()
export type AppId = z.output<typeof AppId>

export const UserId = nameId('user').brand<'UserId'>()
export type UserId = z.output<typeof UserId>

export const GroupId = nameId('group').brand<'GroupId'>()
export type GroupId = z.output<typeof GroupId>

export const DeviceId = nameId('device').brand<'DeviceId'>()
export type DeviceId = z.output<typeof DeviceId>

/** Position in a conversation: 1, 2, 3 … without gaps. */
export const Seq = z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).brand<'Seq'>()
export type Seq = z.output<typeof Seq>

/** Milliseconds since 1970-01-01T00:00Z. */
export type EpochMs = number

/** Chosen by the sender; repeating it in a conversation never makes a second message. Kept for 30 days and 10,000 entries at least. */
export const ClientMessageId = z
  .string()
  .regex(/^[\x20-\x7e]{1,64}$/, 'A clientMessageId is 1 to 64 printable ASCII characters.')

const CONVERSATION = new RegExp(`^(?:u:(${NAME}):(${NAME})|([gdn]):(${NAME})|b:([a-z][a-z0-9-]{0,31}))$`)

/**
 * `u:{a}:{b}` (two users, sorted), `g:{group}`, `d:{device}`, `n:{user}` (notices), `b:{app}` (broadcast).
 * `u:bob:alice` is read as `u:alice:bob`.
 */
export const ConversationId = z
  .string()
  .regex(CONVERSATION, 'A conversation is u:{user}:{user}, g:{group}, d:{device}, n:{user} or b:{app}.')
  .overwrite(sorted)
  .brand<'ConversationId'>()
export type ConversationId = z.output<typeof ConversationId>

function sorted(id: string): string {
  const [kind, a, b] = id.split(':')
  return kind === 'u' && a !== undefined && b !== undefined && a > b ? `u:${b}:${a}` : id
}

export type ConversationKind = 'user' | 'group' | 'device' | 'notice' | 'broadcast'
const KINDS: Record<string, ConversationKind> = { u: 'user', g: 'group', d: 'device', n: 'notice', b: 'broadcast' }

export const kindOf = (conversation: ConversationId): ConversationKind =>
  KINDS[conversation[0] as string] as ConversationKind

export const between = (a: UserId, b: UserId) => (a < b ? `u:${a}:${b}` : `u:${b}:${a}`) as ConversationId
export const ofGroup = (group: GroupId) => `g:${group}` as ConversationId
export const ofDevice = (device: DeviceId) => `d:${device}` as ConversationId
export const noticesOf = (user: UserId) => `n:${user}` as ConversationId

/** What follows the kind: the group, device, app or user; for two users, both. */
export const partsOf = (conversation: ConversationId): string[] => conversation.split(':').slice(1)

/** Who an entry is from: a user's id, `d:{device}`, or `system`. */
export type Sender = UserId | `d:${string}` | '$system'

/** Who can be in a conversation and hold sessions: a user's id, or `d:{device}`. */
export type Member = UserId | `d:${string}`
