/** Who asks. A transport names the caller; the rules decide what they may. */

import type { AppId, DeviceId, EpochMs, Member, Seq, UserId } from '../protocol/ids.ts'
import type { Change, ConversationKey } from './ports.ts'

interface Anywhere {
  /** Network address, for throttling only. */
  address: string
}
export interface Nobody extends Anywhere {
  kind: 'nobody'
}
export interface User extends Anywhere {
  kind: 'user'
  app: AppId
  user: UserId
  member: Member
  /** The log-in, or `key:{id}`. */
  grant: string
  /** When the access token ends; a key has no end. */
  expiresAt?: EpochMs
}
export interface Device extends Anywhere {
  kind: 'device'
  app: AppId
  device: DeviceId
  member: Member
  grant: string
  expiresAt?: EpochMs
}
export type Known = User | Device
export type Caller = Nobody | Known

/**
 * Called by an operation that appends, synchronously, as soon as the order of its append is settled.
 * A transport that must keep the order of one sender starts the next operation then, without waiting for durability.
 */
export interface Turn {
  /** Settles the order. */
  enqueued(): void
  /** More record changes of the same atomic write as the append. */
  changes?: (at: { seq: Seq }) => Change[]
  /** Where other nodes append as well: asked before the entry gets its place. What it throws refuses the append. */
  judge?: (conversation: ConversationKey) => Promise<void>
}
