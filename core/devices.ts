/** Devices: registered, listed, renamed, given new keys, deleted. A device's id is never given again. */
import { Fault, isConflict } from '../protocol/faults.ts'
import {
  type AppId,
  type DeviceId,
  type EpochMs,
  type GroupId,
  type Member,
  ofDevice,
  ofGroup,
  type UserId,
} from '../protocol/ids.ts'
import type { Device } from '../protocol/operations/shapes.ts'
import type { Input } from '../protocol/operations.ts'
import { topic } from '../protocol/topics.ts'
import type { Known, User } from './caller.ts'
import { groupNow } from './device-members.ts'
import { again } from './group-changes.ts'
import {
  type Change,
  type Connections,
  type Found,
  keyOf,
  MAX_RANK,
  put,
  type Random,
  type Records,
  remove,
  removeRanked,
} from './ports.ts'
import type { Members, Roster, RosterChange } from './roster.ts'
import { PREFIX, secretText, sha256 } from './secrets.ts'
import { DEVICE_KEYS, DEVICES, type DeviceRow, MEMBERS, TELEMETRY } from './tables.ts'

interface Needs {
  records: Pick<Records, 'get' | 'getMany' | 'scan' | 'write'>
  members: Pick<Members, 'place' | 'roster' | 'inTurn' | 'change'>
  connections: Pick<Connections, 'end' | 'retained'>
  random: Random
  now: () => EpochMs
}

export function devices(needs: Needs) {
  const { records, members } = needs

  async function getDevice(caller: Known, { device }: Input<'getDevice'>): Promise<Device> {
    const { row } = await found(records, caller.app, device)
    if (!(await members.place(caller.app, caller.member, ofDevice(device)))) throw new Fault('not-a-member')
    return shape(device, row)
  }

  async function listDevices({ app, member }: User, { limit, cursor }: Input<'listDevices'>) {
    const range = { index: 'byMember', prefix: 'd:', limit, ...(cursor !== undefined && { after: cursor }) }
    const page = await records.scan(MEMBERS, `${app}/${member}`, range)
    const ids = page.map(({ partition }) => partition.slice(`${app}/d:`.length) as DeviceId)
    const rows = await records.getMany(
      DEVICES,
      ids.map(key => ({ partition: app, key })),
    )
    const items = ids.flatMap((device, i) => {
      const row = rows[i]?.row
      return row && !row.deleted ? [shape(device, row)] : []
    })
    const next = page.length === limit ? page.at(-1)?.cursor : undefined
    return { items, ...(next !== undefined && { next }) }
  }

  return { createDevice: creator(needs), getDevice, listDevices, ...owned(needs) }
}

function creator({ records, members, random, now }: Needs) {
  return async function createDevice(caller: User, input: Input<'createDevice'>): Promise<Device & { key: string }> {
    const { device, group } = input
    const row: DeviceRow = {
      ...{ name: input.name ?? device, owner: caller.user, createdAt: now() },
      ...(group && { group }),
    }
    const key = PREFIX.device + secretText(random)
    const changes = () => [
      put(DEVICES, caller.app, device, row, 0),
      put(DEVICE_KEYS, caller.app, device, { hash: sha256(key), createdAt: row.createdAt }),
    ]
    if (await records.get(DEVICES, caller.app, device)) throw new Fault('id-taken')
    // In the group's turn: who joins or leaves it meanwhile would be in or out of the one and not the other.
    if (group)
      await members.inTurn(keyOf(caller.app, ofGroup(group)), () =>
        again(async () => {
          const { roster, stands } = await groupNow(records, caller.app, group)
          mayOwn(roster, caller.user)
          const more = { fields: { name: row.name, group }, changes: () => [...changes(), ...stands()] }
          await register(caller, device, roster, more)
        }),
      )
    else await register(caller, device, new Map(), { fields: { name: row.name }, changes })
    return { ...shape(device, row), key }
  }

  async function register(caller: User, device: DeviceId, group: Roster, more: Partial<RosterChange>): Promise<void> {
    const own = { member: ofDevice(device) as string as Member, role: 'member' as const }
    const others = [...group.keys()].filter(member => member !== caller.user)
    const joined = [
      own,
      { member: caller.member, role: 'owner' as const },
      ...others.map(member => ({ member, role: 'member' as const })),
    ]
    try {
      const change: RosterChange = { action: 'created', by: caller.user, users: [caller.user], joined, ...more }
      await members.change(keyOf(caller.app, ofDevice(device)), change)
    } catch (fault) {
      if (!isConflict(fault)) throw fault
      // Otherwise the group has changed meanwhile.
      const isTaken = await records.get(DEVICES, caller.app, device)
      throw isTaken ? new Fault('id-taken', {}, { cause: fault }) : fault
    }
  }
}

/** What a device's owner alone may do. */
function owned({ records, members, connections, random, now }: Needs) {
  async function asOwner<T>(caller: User, device: DeviceId, work: (found: Found<DeviceRow>) => Promise<T>): Promise<T> {
    return members.inTurn(keyOf(caller.app, ofDevice(device)), async () => {
      const now = await found(records, caller.app, device)
      const place = await members.place(caller.app, caller.member, ofDevice(device))
      if (!place) throw new Fault('not-a-member')
      if (now.row.owner !== caller.user) throw new Fault('not-allowed')
      return work(now)
    })
  }

  async function updateDevice(caller: User, { device, name, renewKey }: Input<'updateDevice'>) {
    return asOwner(caller, device, async ({ row, version }) => {
      const next: DeviceRow = { ...row, name: name ?? row.name }
      const key = renewKey && PREFIX.device + secretText(random)
      const changes: Change[] = [put(DEVICES, caller.app, device, next, version)]
      if (key) changes.push(put(DEVICE_KEYS, caller.app, device, { hash: sha256(key), createdAt: now() }))
      await records.write(changes)
      if (key) connections.end(caller.app, ofDevice(device) as string as Member, 'token-revoked')
      return { ...shape(device, next), ...(key && { key }) }
    })
  }

  async function deleteDevice(caller: User, { device }: Input<'deleteDevice'>): Promise<undefined> {
    const own = ofDevice(device) as string as Member
    await asOwner(caller, device, async ({ row, version }) => {
      const changes = () => [
        put(DEVICES, caller.app, device, { ...row, deleted: true }, version),
        remove(DEVICE_KEYS, caller.app, device),
        // No device has this id again.
        removeRanked(TELEMETRY, caller.app, device, MAX_RANK),
      ]
      // The others stay: the history is theirs. Without the device nothing is sent any more.
      const change: RosterChange = { action: 'dismissed', by: caller.user, users: [], left: [own], changes }
      await members.change(keyOf(caller.app, ofDevice(device)), change)
    })
    connections.end(caller.app, own, 'token-revoked')
    // An empty payload takes a retained value away [MQTT-3.3.1-6].
    connections.retained(caller.app, topic('last', caller.app, device), new Uint8Array())
  }

  return { updateDevice, deleteDevice }
}

async function found(records: Pick<Records, 'get'>, app: AppId, device: DeviceId): Promise<Found<DeviceRow>> {
  const found = await records.get(DEVICES, app, device)
  if (!found || found.row.deleted) throw new Fault('no-such-device')
  return found
}

function mayOwn(group: Roster, user: UserId): void {
  if (group.size === 0) throw new Fault('no-such-group')
  const role = group.get(user)?.role
  if (!role) throw new Fault('not-a-member')
  if (role === 'member') throw new Fault('not-allowed')
}

function shape(device: DeviceId, { name, owner, group, createdAt }: DeviceRow): Device {
  const owning: { group?: GroupId } = group ? { group } : {}
  return { device, name, conversation: ofDevice(device), owner, ...owning, createdAt }
}
