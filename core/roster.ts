/** Who is in a conversation, as the other rules see it. core/members.ts keeps it. */
import type { AppId, ConversationId, EpochMs, Member, Seq, UserId } from '../protocol/ids.ts'
import type { MembersAction } from '../protocol/messages.ts'
import type { Role } from '../protocol/operations/shapes.ts'
import type { StoredEntry } from './entry.ts'
import type { Change, ConversationKey } from './ports.ts'
import type { MemberRow } from './tables.ts'

export type Roster = ReadonlyMap<Member, MemberRow>

/** A members entry, and what it does to the roster in the same atomic write. */
export interface RosterChange {
  action: MembersAction
  by: UserId
  /** Whom the entry names. */
  users: UserId[]
  /** More fields of the entry. */
  fields?: Record<string, unknown>
  joined?: readonly { member: Member; role: Role }[]
  updated?: readonly { member: Member; row: MemberRow }[]
  left?: readonly Member[]
  /** More record changes of the same write. */
  changes?: (at: { seq: Seq; n: number; sentAt: EpochMs }) => Change[]
}

export interface Members {
  /**
   * A member's place now; nothing for one who is not in, or is on the way out. At once where it is at hand. In
   * `u:` and `n:` the id says who is in.
   */
  place(
    app: AppId,
    member: Member,
    conversation: ConversationId,
  ): MemberRow | undefined | Promise<MemberRow | undefined>
  /** Everybody in a group or with a device, as of the last durable entry. */
  roster(key: ConversationKey): Roster | Promise<Roster>
  /** The roster if it is at hand. */
  peek(key: ConversationKey): Roster | undefined
  /** Changes who is in. Who leaves may not send from this call on. Ask within `inTurn`. */
  change(key: ConversationKey, change: RosterChange): Promise<StoredEntry>
  /** One after the other for each conversation. @throws Fault `too-many-requests` when too many wait. */
  inTurn<T>(key: ConversationKey, work: () => Promise<T>): Promise<T>
}
