/** What people do to the group `ops` of a test. */
import type { GroupId, UserId } from '../../protocol/ids.ts'
import type { Asking } from './core.ts'

export const ops = 'ops' as GroupId
export const users = (...names: string[]) => names as UserId[]

export function group(owner: Asking, members: string[] = []) {
  return owner.ask('createGroup', {
    group: ops,
    name: 'Ops',
    ...(members.length > 0 && { members: users(...members) }),
  })
}
export const add = (by: Asking, ...names: string[]) => by.ask('addMembers', { group: ops, members: users(...names) })
export const put = (by: Asking, user: string) => by.ask('removeMember', { group: ops, user: user as UserId })
export async function roles(by: Asking) {
  const { items } = await by.ask('listMembers', { group: ops })
  return Object.fromEntries(items.map(({ user, role }) => [user, role]))
}
