/** Who is in which conversation, in storage: the rows, and what a members entry does to them. */
import {
  type AppId,
  type ConversationId,
  kindOf,
  type Member,
  noticesOf,
  type Seq,
  type UserId,
} from '../protocol/ids.ts'
import type { StoredEntry } from './entry.ts'
import { type Change, type ConversationKey, type Membership, put, type Records, remove, splitKey } from './ports.ts'
import type { RosterChange } from './roster.ts'
import { MEMBERS, type MemberRow } from './tables.ts'

const PAGE = 1_000

export interface Delta {
  rows: Map<Member, MemberRow>
  joined: Member[]
  left: readonly Member[]
}

export function deltaOf(
  { joined = [], updated = [], left = [] }: RosterChange,
  at: { seq: Seq; n: number; sentAt: number },
) {
  const rows = new Map<Member, MemberRow>()
  for (const { member, role } of joined)
    rows.set(member, { role, joinedSeq: at.seq, joinedAt: at.sentAt, joinedN: at.n })
  for (const { member, row } of updated) rows.set(member, row)
  return { rows, joined: joined.map(({ member }) => member), left }
}

export function rowChanges(key: ConversationKey, { rows, left }: Delta): Change[] {
  const puts = [...rows].map(([member, row]) => put(MEMBERS, key, member, row))
  return [...puts, ...left.map(member => remove(MEMBERS, key, member))]
}

/** Who came and went by an entry that was appended elsewhere. `before`: who was in, if that is known here. */
export function told(
  { entry }: StoredEntry,
  conversation: ConversationId,
  before: ReadonlyMap<Member, MemberRow> | undefined,
): { joined: Member[]; left: Member[]; dismissed?: true } {
  const users: Member[] = entry.users ?? []
  if (entry.action === 'created' || entry.action === 'joined' || entry.action === 'added')
    return { joined: users, left: [] }
  if (entry.action === 'left' || entry.action === 'removed') return { joined: [], left: users }
  if (entry.action !== 'dismissed') return { joined: [], left: [] }
  // Of a device that is gone the conversation stays with its people.
  if (kindOf(conversation) === 'device') return { joined: [], left: [conversation as Member] }
  return { joined: [], left: [...(before?.keys() ?? [])], dismissed: true }
}

export async function loadRoster(
  records: Pick<Records, 'scan'>,
  key: ConversationKey,
): Promise<Map<Member, MemberRow>> {
  const roster = new Map<Member, MemberRow>()
  for (let after: string | undefined; ; ) {
    const page = await records.scan(MEMBERS, key, { limit: PAGE, ...(after !== undefined && { after }) })
    for (const found of page) roster.set(found.key as Member, found.row)
    after = page.at(-1)?.cursor
    if (page.length < PAGE) return roster
  }
}

export async function pageOf(records: Pick<Records, 'scan'>, app: AppId, member: Member, after?: string) {
  const range = { index: 'byMember', limit: PAGE, ...(after !== undefined && { after }) }
  const page = await records.scan(MEMBERS, `${app}/${member}`, range)
  const items: Membership[] = page.map(({ partition, row }) => ({
    conversation: splitKey(partition as ConversationKey).conversation,
    joinedSeq: row.joinedSeq,
  }))
  // Notices need no row: everyone has had them from the start.
  if (after === undefined && !member.startsWith('d:'))
    items.unshift({ conversation: noticesOf(member as UserId), joinedSeq: 1 as Seq })
  const next = page.length === PAGE ? page.at(-1)?.cursor : undefined
  return { items, ...(next !== undefined && { next }) }
}
