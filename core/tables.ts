/** The tables that several features read: rows, and where else a row is found. */
import type { AppId, EpochMs, GroupId, Seq, UserId } from '../protocol/ids.ts'
import type { MembersAction } from '../protocol/messages.ts'
import type { Group, Role } from '../protocol/operations/shapes.ts'
import { type ConversationKey, splitKey, table } from './ports.ts'

/** Who is in a conversation. Partition: conversation key; key: member. */
export interface MemberRow {
  role: Role
  /** The entry that made them a member. */
  joinedSeq: Seq
  joinedAt: EpochMs
  /** Messages up to the joining entry: what they never have to read. */
  joinedN: number
  mutedUntil?: EpochMs
}
export const MEMBERS = table<MemberRow>('members', {
  byMember: (_, at) => {
    const { app, conversation } = splitKey(at.partition as ConversationKey)
    return { partition: `${app}/${at.key}`, sort: conversation }
  },
})

/** A sender's last own message. Ranked by its seq. Partition: conversation key; key: member. */
export interface SentRow {
  seq: Seq
  n: number
}
export const SENT = table<SentRow>('sent', undefined, { ranked: true, spread: true })

/** How far a member has read; only goes up. Partition: conversation key; key: member. */
export interface MarkRow {
  readUpTo: number
  /** Messages up to `readUpTo`. */
  readN: number
  /** What is read has been got; what came since is in `DELIVERED`. */
  deliveredUpTo: number
}
export const MARKS = table<MarkRow>('marks', undefined, { spread: true })

/** How far a member's sessions have acknowledged. Ranked by that. Partition: conversation key; key: member. */
export interface DeliveredRow {
  upTo: number
}
export const DELIVERED = table<DeliveredRow>('delivered', undefined, { ranked: true, spread: true })

/** A group; it stays when the group is dismissed, so that its id is not given again. Partition: app; key: group. */
export type GroupRow = Pick<
  Group,
  'name' | 'owner' | 'join' | 'history' | 'createdAt' | 'about' | 'avatar' | 'dismissed'
>
export const GROUPS = table<GroupRow>('groups', undefined, { spread: true })

/** A device; it stays when the device is deleted. Partition: app; key: device. */
export interface DeviceRow {
  name: string
  owner: UserId
  group?: GroupId
  createdAt: EpochMs
  deleted?: true
}
export const DEVICES = table<DeviceRow>(
  'devices',
  { byGroup: (row, at) => (row.group ? { partition: `${at.partition}/${row.group}`, sort: at.key } : undefined) },
  { spread: true },
)

/** A device's key: SHA-256 in hex. Partition: app; key: device. */
export interface DeviceKey {
  hash: string
  createdAt: EpochMs
}
export const DEVICE_KEYS = table<DeviceKey>(
  'device-keys',
  { byHash: row => ({ partition: row.hash, sort: '' }) },
  { spread: true },
)

/** A device's newest value. Ranked by when it came. Partition: app; key: device. */
export interface TelemetryRow {
  value: string
  /** The value is base64 of the bytes; else they are its UTF-8. */
  encoding?: 'base64'
  at: EpochMs
}
export const TELEMETRY = table<TelemetryRow>('telemetry', undefined, { ranked: true, spread: true })

/** What a change of a group still has to do elsewhere; written with the change, removed when done. Partition: `due`. */
export interface FollowUp {
  app: AppId
  group: GroupId
  /** The `clientMessageId` of every notice, so that a repeat makes no second one. */
  id: string
  action: MembersAction
  by: UserId
  name: string
  /** Who is told by a notice. */
  notify: UserId[]
}
export const FOLLOW_UPS = table<FollowUp>('follow-ups')
