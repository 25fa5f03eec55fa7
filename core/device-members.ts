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
import { keyOf, type Records } from './ports.ts'
import type { Members } from './roster.ts'
import { DEVICES, type DeviceRow } from './tables.ts'

interface Needs {
  records: Pick<Records, 'get' | 'scan'>
  members: Pick<Members, 'roster' | 'inTurn' | 'change'>
}

const PAGE = 100
/** Users whom one entry names. */
const AT_ONCE = 1_000

export function deviceMembers({ records, members }: Needs) {
  /** Brings all devices of a group in step with it; may be repeated. */
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
      const wanted = await members.roster(keyOf(app, ofGroup(group)))
      const now = await members.roster(key)
      const stays = (member: Member) => wanted.has(member) || member === row.owner || member.startsWith('d:')
      const left = [...now.keys()].filter(member => !stays(member)) as UserId[]
      const joined = row.deleted ? [] : ([...wanted.keys()].filter(member => !now.has(member)) as UserId[])
      for (const users of inParts(left)) await members.change(key, { action: 'removed', by, users, left: users })
      for (const users of inParts(joined)) {
        const places = users.map(member => ({ member, role: 'member' as const }))
        await members.change(key, { action: 'added', by, users, joined: places })
      }
    })
  }

  return { devicesOf }
}

function inParts<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / AT_ONCE) }, (_, i) => all.slice(i * AT_ONCE, (i + 1) * AT_ONCE))
}
