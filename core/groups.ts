/** Groups: made, looked at, renamed, set up, dismissed. */
import { Fault, isConflict } from '../protocol/faults.ts'
import { type EpochMs, type GroupId, ofGroup, type UserId } from '../protocol/ids.ts'
import type { Group, Role } from '../protocol/operations/shapes.ts'
import type { Input } from '../protocol/operations.ts'
import type { User } from './caller.ts'
import { type Groups, memberShape, placeIn } from './group-changes.ts'
import type { Expect } from './people.ts'
import { keyOf, put, type Random, type Records } from './ports.ts'
import type { Members } from './roster.ts'
import { GROUPS, type GroupRow, MEMBERS } from './tables.ts'

interface Needs {
  records: Pick<Records, 'get' | 'scan'>
  members: Pick<Members, 'roster' | 'change' | 'inTurn'>
  changes: Groups
  expect: Expect
  random: Random
  now: () => EpochMs
}

export function groups(needs: Needs) {
  const { records, members, changes, now } = needs

  async function getGroup(caller: User, { group }: Input<'getGroup'>): Promise<Group> {
    const key = keyOf(caller.app, ofGroup(group))
    const row = await changes.row(key)
    if (!row || row.dismissed) throw new Fault('no-such-group')
    return changes.shape(group, { row, roster: await members.roster(key) })
  }

  async function updateGroup(caller: User, { group, ...wanted }: Input<'updateGroup'>): Promise<Group> {
    const after = await changes.change(caller.app, group, before => {
      if (placeIn(before, caller.member).role === 'member') throw new Fault('not-allowed')
      return settings(before.row, wanted, caller.user)
    })
    return changes.shape(group, after)
  }

  async function dismissGroup(caller: User, { group }: Input<'dismissGroup'>): Promise<undefined> {
    await changes.change(caller.app, group, before => {
      if (placeIn(before, caller.member).role !== 'owner') throw new Fault('not-allowed')
      const everybody = [...before.roster.keys()] as UserId[]
      const row: GroupRow = { ...before.row, dismissed: true }
      return { action: 'dismissed', by: caller.user, users: [], left: everybody, notify: everybody, row }
    })
  }

  async function listMembers(caller: User, { group, limit, cursor }: Input<'listMembers'>) {
    const range = { limit, ...(cursor !== undefined && { after: cursor }) }
    const page = await records.scan(MEMBERS, keyOf(caller.app, ofGroup(group)), range)
    const items = page.map(({ key, row }) => memberShape(key as UserId, row, now()))
    const next = page.length === limit ? page.at(-1)?.cursor : undefined
    return { items, ...(next !== undefined && { next }) }
  }

  return { createGroup: creator(needs), getGroup, updateGroup, dismissGroup, listMembers }
}

function creator({ members, changes, expect, random, now }: Needs) {
  return async function createGroup(caller: User, input: Input<'createGroup'>): Promise<Group> {
    const { group = madeUp(random), members: invited = [], ...fields } = input
    const users = [...new Set([caller.user, ...invited])]
    await expect(caller.app, users)
    const key = keyOf(caller.app, ofGroup(group))
    const row: GroupRow = { ...fields, owner: caller.user, createdAt: now() }
    const joined = users.map(user => ({ member: user, role: (user === caller.user ? 'owner' : 'member') as Role }))
    await members.inTurn(key, async () => {
      try {
        await members.change(key, {
          ...{ action: 'created', by: caller.user, users, joined, fields: { name: row.name } },
          changes: () => [put(GROUPS, caller.app, group, row, 0)],
        })
      } catch (fault) {
        // Only the group's own row is expected to be absent.
        throw isConflict(fault) ? new Fault('id-taken', {}, { cause: fault }) : fault
      }
    })
    return changes.shape(group, { row, roster: await members.roster(key) })
  }
}

const madeUp = (random: Random) => Buffer.from(random.bytes(10)).toString('hex') as GroupId

/** The settings that really change, as one entry; null takes a field away. */
function settings(row: GroupRow, wanted: Omit<Input<'updateGroup'>, 'group'>, by: UserId) {
  const fields = Object.fromEntries(
    Object.entries(wanted).filter(
      ([name, value]) => value !== undefined && value !== (row[name as keyof GroupRow] ?? null),
    ),
  )
  if (Object.keys(fields).length === 0) return undefined
  const merged = Object.entries({ ...row, ...fields }).filter(([, value]) => value !== null)
  const action = 'name' in fields ? ('renamed' as const) : ('settings' as const)
  return { action, by, users: [], fields, row: Object.fromEntries(merged) as GroupRow }
}
