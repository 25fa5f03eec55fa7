/** Who is in a group, and what they may: adding, removing, leaving, roles, muting. */
import { Fault } from '../protocol/faults.ts'
import type { EpochMs, UserId } from '../protocol/ids.ts'
import { MAX_MEMBERS } from '../protocol/operations/groups.ts'
import type { Group, GroupMember, Role } from '../protocol/operations/shapes.ts'
import type { Input } from '../protocol/operations.ts'
import type { User } from './caller.ts'
import { type GroupChange, type GroupNow, type Groups, memberShape, placeIn } from './group-changes.ts'
import type { Expect } from './people.ts'
import type { MemberRow } from './tables.ts'

interface Needs {
  changes: Groups
  expect: Expect
  now: () => EpochMs
}

export function groupMembers({ changes, expect, now }: Needs) {
  async function addMembers(caller: User, { group, members: named }: Input<'addMembers'>): Promise<Group> {
    const after = await changes.change(caller.app, group, async before => {
      mayAdd(before, caller.user, named)
      const users = [...new Set(named)].filter(user => !before.roster.has(user))
      if (users.length === 0) throw new Fault('already-a-member')
      await expect(caller.app, users)
      if (before.roster.size + users.length > MAX_MEMBERS) throw new Fault('group-full', { most: MAX_MEMBERS })
      const action = users.length === 1 && users[0] === caller.user ? 'joined' : 'added'
      return { action, by: caller.user, users, joined: users.map(member => ({ member, role: 'member' })) }
    })
    return changes.shape(group, after)
  }

  async function removeMember(caller: User, { group, user }: Input<'removeMember'>): Promise<undefined> {
    await changes.change(caller.app, group, before => {
      const own = placeIn(before, caller.member)
      const theirs = placeIn(before, user)
      const leaves = user === caller.user
      if (leaves && own.role === 'owner') throw new Fault('owner-must-stay')
      if (!leaves && !(RANK[own.role] > RANK[theirs.role])) throw new Fault('not-allowed')
      const change: GroupChange = { action: leaves ? 'left' : 'removed', by: caller.user, users: [user], left: [user] }
      return leaves ? change : { ...change, notify: [user] }
    })
  }

  async function updateMember(caller: User, input: Input<'updateMember'>): Promise<GroupMember> {
    const { group, user } = input
    const after = await changes.change(caller.app, group, before => changed(before, caller.user, input, now()))
    return memberShape(user, placeIn(after, user), now())
  }

  return { addMembers, removeMember, updateMember }
}

/** Who stands above whom may mute and remove them. */
const RANK: Record<Role, number> = { owner: 2, admin: 1, member: 0 }

function mayAdd({ row, roster }: GroupNow, by: UserId, users: readonly UserId[]): void {
  const role = roster.get(by)?.role
  const alone = users.every(user => user === by)
  const may = role ? role !== 'member' || row.join !== 'invite' || alone : row.join === 'open' && alone
  if (!may) throw new Fault('not-allowed')
}

function changed(
  before: GroupNow,
  by: UserId,
  { user, role, mutedUntil }: Input<'updateMember'>,
  now: EpochMs,
): GroupChange | undefined {
  const own = placeIn(before, by)
  const theirs = placeIn(before, user)
  if (role !== undefined && own.role !== 'owner') throw new Fault('not-allowed')
  if (mutedUntil !== undefined && !(RANK[own.role] > RANK[theirs.role])) throw new Fault('not-allowed')
  const promoted = role !== undefined && role !== theirs.role
  // An owner steps down only by naming the next.
  if (promoted && user === by) throw new Fault('not-allowed')
  const muted = typeof mutedUntil === 'number' && mutedUntil > now ? mutedUntil : undefined
  const remuted = mutedUntil !== undefined && muted !== theirs.mutedUntil
  if (!promoted && !remuted) return undefined

  const { mutedUntil: until, ...rest } = theirs
  // Whoever is given a say is heard.
  const kept = remuted ? muted : promoted && role !== 'member' ? undefined : until
  const row: MemberRow = { ...rest, role: role ?? theirs.role, ...(kept !== undefined && { mutedUntil: kept }) }
  const handsOn = promoted && role === 'owner'
  return {
    action: promoted ? 'role' : 'muted',
    by,
    users: [user],
    fields: { ...(promoted && { role }), ...(remuted && { mutedUntil: muted ?? null }) },
    updated: [{ member: user, row }, ...(handsOn ? [{ member: by, row: { ...own, role: 'admin' as const } }] : [])],
    ...(handsOn && { row: { ...before.row, owner: user } }),
  }
}
