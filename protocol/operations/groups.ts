/** Groups: who is in, who decides, what it is called. */
import * as z from 'zod'
import { GroupId, UserId } from '../ids.ts'
import {
  cursor,
  DisplayName,
  Group,
  GroupMember,
  HistoryRule,
  JoinRule,
  limit,
  nothing,
  pageOf,
  path,
  Role,
} from './shapes.ts'

/** Members of one group. */
export const MAX_MEMBERS = 10_000
/** Users named in one request. */
const users = z.array(UserId).min(1).max(1_000)
const about = z.string().min(1).max(1_024)
const avatar = z.string().min(1).max(2_048)

// biome-ignore format: a table, a row a line
export const groups = {
  createGroup: {
    says: 'Makes a group; the caller owns it. Without an id one is made up.',
    may: 'user', rest: 'POST /groups', status: 201,
    body: z.strictObject({ group: GroupId.optional(), name: DisplayName, members: z.array(UserId).max(1_000).optional(), join: JoinRule.default('invite'), history: HistoryRule.default('joined'), about: about.optional(), avatar: avatar.optional() }),
    output: Group,
    faults: ['id-taken', 'no-such-user', 'log-unavailable'],
  },
  getGroup: { says: 'A group that the caller is in.', may: 'group-member', rest: 'GET /groups/:group', path: path.group, output: Group, faults: ['no-such-group', 'not-a-member'] },
  updateGroup: {
    says: 'Renames a group or changes its settings (owner and admins); null takes a field away.',
    may: 'group-member', rest: 'PATCH /groups/:group',
    path: path.group,
    body: z.strictObject({ name: DisplayName.optional(), join: JoinRule.optional(), history: HistoryRule.optional(), about: about.nullable().optional(), avatar: avatar.nullable().optional() }),
    output: Group,
    faults: ['no-such-group', 'not-a-member', 'not-allowed', 'log-unavailable'],
  },
  dismissGroup: { says: 'Ends a group for all its members (owner). Its id is not given again.', may: 'group-member', rest: 'DELETE /groups/:group', status: 204, path: path.group, output: nothing, faults: ['no-such-group', 'not-a-member', 'not-allowed', 'log-unavailable'] },
  listMembers: {
    says: "A group's members, by user id.",
    may: 'group-member', rest: 'GET /groups/:group/members',
    path: path.group, query: { limit: limit(500, 100), cursor },
    output: pageOf(GroupMember), faults: ['no-such-group', 'not-a-member'],
  },
  addMembers: {
    says: 'Adds users, as far as the join rule allows; with the rule `open` anybody may add themselves. Users who are in already are passed over.',
    may: 'user', rest: 'POST /groups/:group/members',
    path: path.group, body: z.strictObject({ members: users }),
    output: Group,
    faults: ['no-such-group', 'not-allowed', 'no-such-user', 'already-a-member', 'group-full', 'log-unavailable'],
  },
  removeMember: {
    says: 'Removes a user (owner and admins), or leaves (oneself). From the next entry on nothing more is sent to them.',
    may: 'group-member', rest: 'DELETE /groups/:group/members/:user', status: 204,
    path: { ...path.group, ...path.user }, output: nothing,
    faults: ['no-such-group', 'not-a-member', 'not-allowed', 'owner-must-stay', 'log-unavailable'],
  },
  updateMember: {
    says: 'Changes a role (owner; the role owner hands the group on) or mutes a member (owner and admins). `mutedUntil` is epoch milliseconds, null ends it.',
    may: 'group-member', rest: 'PUT /groups/:group/members/:user',
    path: { ...path.group, ...path.user },
    body: z.strictObject({ role: Role.optional(), mutedUntil: z.int().min(0).nullable().optional() }),
    output: GroupMember,
    faults: ['no-such-group', 'not-a-member', 'not-allowed', 'log-unavailable'],
  },
} as const
