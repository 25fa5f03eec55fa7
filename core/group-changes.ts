/** One change of a group at a time: its row and its roster are read, judged, and written with the members entry. */
import { Fault, isConflict } from '../protocol/faults.ts'
import { type AppId, type EpochMs, type GroupId, kindOf, type Member, ofGroup, type UserId } from '../protocol/ids.ts'
import type { Group, GroupMember } from '../protocol/operations/shapes.ts'
import type { FollowUps } from './follow-ups.ts'
import { Kept } from './kept.ts'
import { type ConversationKey, keyOf, type MessageLog, put, type Random, type Records, splitKey } from './ports.ts'
import type { Members, Roster, RosterChange } from './roster.ts'
import { randomText } from './secrets.ts'
import { DEVICES, type FollowUp, GROUPS, type GroupRow, type MemberRow } from './tables.ts'

interface Needs {
  log: Pick<MessageLog, 'follow' | 'watch'>
  records: Pick<Records, 'get' | 'scan'>
  members: Pick<Members, 'roster' | 'inTurn' | 'change'>
  followUps: FollowUps
  random: Random
}

export interface GroupNow {
  row: GroupRow
  roster: Roster
}
/** What is to happen to a group; `row` where that changes too, `notify` who learns of it by a notice. */
export interface GroupChange extends Omit<RosterChange, 'changes'> {
  row?: GroupRow
  notify?: UserId[]
}
/** Judges a group as it is now; nothing where nothing is to change. @throws Fault */
export type Judge = (now: GroupNow) => GroupChange | undefined | Promise<GroupChange | undefined>

const MAX_KEPT = 20_000
/** Another node's change of the same group comes first; it is read again. */
const ATTEMPTS = 5

export interface Groups {
  /** The row, dismissed or not, at once where it is at hand. */
  row(key: ConversationKey): GroupRow | undefined | Promise<GroupRow | undefined>
  change(app: AppId, group: GroupId, judge: Judge): Promise<GroupNow>
  shape(group: GroupId, now: GroupNow): Group
}

export function groupChanges({ log, records, members, followUps, random }: Needs): Groups {
  const rows = new Kept<{ row: GroupRow | undefined }>({
    load: key => load(key as ConversationKey),
    most: MAX_KEPT,
    hold: key => log.watch(key as ConversationKey),
  })
  log.follow(
    (key, entry) => entry.kind === 'members' && rows.drop(key),
    key => rows.drop(key),
  )

  async function load(key: ConversationKey) {
    const { app, conversation } = splitKey(key)
    return { row: (await records.get(GROUPS, app, conversation.slice(2)))?.row }
  }

  function row(key: ConversationKey) {
    if (kindOf(splitKey(key).conversation) !== 'group') return undefined
    const held = rows.get(key)
    return held instanceof Promise ? held.then(({ row }) => row) : held.row
  }

  async function change(app: AppId, group: GroupId, judge: Judge): Promise<GroupNow> {
    const key = keyOf(app, ofGroup(group))
    const due: FollowUp[] = []
    const now = await members.inTurn(key, () => again(() => changeOnce(app, group, judge, due)))
    for (const what of due) await followUps.finish(what)
    return now
  }

  async function changeOnce(app: AppId, group: GroupId, judge: Judge, due: FollowUp[]): Promise<GroupNow> {
    const key = keyOf(app, ofGroup(group))
    const found = await records.get(GROUPS, app, group)
    if (!found || found.row.dismissed) throw new Fault('no-such-group')
    const change = await judge({ row: found.row, roster: await members.roster(key) })
    if (!change) return { row: found.row, roster: await members.roster(key) }

    const { row = found.row, notify = [], ...rest } = change
    const what = await followUp({ records, random }, app, group, row, change, notify)
    const changes = () => [put(GROUPS, app, group, row, found.version), ...(what ? [followUps.due(what)] : [])]
    try {
      await members.change(key, { ...rest, changes })
    } catch (fault) {
      // It may be stored none the less, and with it what is due.
      if (what && !isConflict(fault)) followUps.lookAgain()
      throw fault
    }
    if (what) due.push(what)
    return { row, roster: await members.roster(key) }
  }

  return { row, change, shape }
}

async function followUp(
  { records, random }: Pick<Needs, 'records' | 'random'>,
  app: AppId,
  group: GroupId,
  { name }: GroupRow,
  { action, by, joined, left }: GroupChange,
  notify: UserId[],
): Promise<FollowUp | undefined> {
  const moved = (joined?.length ?? 0) + (left?.length ?? 0) > 0
  const devices = moved ? await records.scan(DEVICES, `${app}/${group}`, { index: 'byGroup', limit: 1 }) : []
  if (notify.length === 0 && devices.length === 0) return undefined
  return { app, group, id: randomText(random, 16), action, by, name, notify }
}

function shape(group: GroupId, { row, roster }: GroupNow): Group {
  return { group, conversation: ofGroup(group), ...row, memberCount: roster.size }
}

/** Once more where another change came first. */
export async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (fault) {
      if (!isConflict(fault) || attempt === ATTEMPTS) throw fault
    }
  }
}

/** @throws Fault `not-a-member` */
export function placeIn({ roster }: Pick<GroupNow, 'roster'>, member: Member): MemberRow {
  const row = roster.get(member)
  if (!row) throw new Fault('not-a-member', { user: member })
  return row
}

export function memberShape(user: UserId, { role, joinedAt, mutedUntil }: MemberRow, now: EpochMs): GroupMember {
  return { user, role, joinedAt, ...(mutedUntil !== undefined && mutedUntil > now && { mutedUntil }) }
}
