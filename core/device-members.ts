/** Members of devices: whoever is in the owning group is in the conversations of its devices. */
import {
  type AppId,
  type DeviceId,
  type GroupId,
  type Member,
  ofDevice,
  ofGroup,
  type UserId,
} from '../protocol/ids.ts'
import { loadRoster } from './member-rows.ts'
import { check, keyOf, type Records } from './ports.ts'
import type { Members, Roster } from './roster.ts'
import { DEVICES, type DeviceRow, GROUPS } from './tables.ts'

interface Needs {
  records: Pick<Records, 'get' | 'scan'>
  members: Pick<Members, 'roster' | 'inTurn' | 'change'>
}

const PAGE = 100
/** Users whom one entry names. */
const AT_ONCE = 1_000

export function deviceMembers({ records, members }: Needs) {
  /** Brings all devices of a group in step with it; may be repeated. @throws Fault `conflict`: the group has changed meanwhile. */
  async function devicesOf(app: AppId, group: GroupId, by: UserId): Promise<void> {
    for (let after: string | undefined; ; ) {
      const range = { index: 'byGroup', limit: PAGE, ...(after !== undefined && { after }) }
      const page = await records.scan(DEVICES, `${app}/${group}`, range)
      for (const { key, row } of page) await step(app, key as DeviceId, row, group, by)
      after = page.at(-1)?.cursor
      if (page.length < PAGE) return
    }
  }

  async function step(app: AppId, device: DeviceId, row: DeviceRow, group: GroupId, by: UserId): Promise<void> {
    const key = keyOf(app, ofDevice(device))
    await members.inTurn(key, async () => {
      const { roster: wanted, stands } = await groupNow(records, app, group)
      const now = await members.roster(key)
      const stays = (member: Member) => wanted.has(member) || member === row.owner || member.startsWith('d:')
      const left = [...now.keys()].filter(member => !stays(member)) as UserId[]
      const joined = row.deleted ? [] : ([...wanted.keys()].filter(member => !now.has(member)) as UserId[])
      for (const users of inParts(left))
        await members.change(key, { action: 'removed', by, users, left: users, changes: stands })
      for (const users of inParts(joined)) {
        const places = users.map(member => ({ member, role: 'member' as const }))
        await members.change(key, { action: 'added', by, users, joined: places, changes: stands })
      }
    })
  }

  return { devicesOf }
}

/** Who is in a group as storage has it, and what goes with a write that rests on it: another node may change the group meanwhile. */
export async function groupNow(records: Pick<Records, 'get' | 'scan'>, app: AppId, group: GroupId) {
  const found = await records.get(GROUPS, app, group)
  const roster: Roster = await loadRoster(records, keyOf(app, ofGroup(group)))
  return { roster, stands: () => [check(GROUPS, app, group, found?.version ?? 0)] }
}

function inParts<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / AT_ONCE) }, (_, i) => all.slice(i * AT_ONCE, (i + 1) * AT_ONCE))
}
