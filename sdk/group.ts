/** A group, as an app uses it: `const ops = group(client, 'ops')`. */
import { GroupId, ofGroup } from '../protocol/ids.ts'
import type { Request, Result } from '../protocol/operations.ts'
import type { Client } from './client.ts'
import { type Conversation, conversation } from './conversation.ts'

type Role = NonNullable<Request<'updateMember'>['role']>

export interface Group extends Conversation {
  readonly group: string
  about(): Promise<Result<'getGroup'>>
  members(page?: { limit?: number; cursor?: string }): Promise<Result<'listMembers'>>
  add(...users: string[]): Promise<Result<'addMembers'>>
  remove(user: string): Promise<void>
  leave(): Promise<void>
  rename(name: string): Promise<Result<'updateGroup'>>
  update(settings: Omit<Request<'updateGroup'>, 'group'>): Promise<Result<'updateGroup'>>
  setRole(user: string, role: Role): Promise<Result<'updateMember'>>
  /** Hands the group on; the caller stays as an admin. */
  transfer(user: string): Promise<Result<'updateMember'>>
  /** Until then the member may not write; null ends it. */
  mute(user: string, mutedUntil: number | null): Promise<Result<'updateMember'>>
  dismiss(): Promise<void>
}

export function group(client: Client, id: string): Group {
  const group = GroupId.parse(id)
  return {
    ...conversation(client, ofGroup(group)),
    group,
    about: () => client.call('getGroup', { group }),
    members: (page = {}) => client.call('listMembers', { group, ...page }),
    add: (...members) => client.call('addMembers', { group, members }),
    remove: user => client.call('removeMember', { group, user }),
    leave: () => client.call('removeMember', { group, user: client.identity.user }),
    rename: name => client.call('updateGroup', { group, name }),
    update: settings => client.call('updateGroup', { group, ...settings }),
    setRole: (user, role) => client.call('updateMember', { group, user, role }),
    transfer: user => client.call('updateMember', { group, user, role: 'owner' }),
    mute: (user, mutedUntil) => client.call('updateMember', { group, user, mutedUntil }),
    dismiss: () => client.call('dismissGroup', { group }),
  }
}

/** Makes a group that the caller owns. */
export async function createGroup(client: Client, request: Request<'createGroup'>): Promise<Group> {
  return group(client, (await client.call('createGroup', request)).group)
}
