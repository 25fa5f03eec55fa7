/** Devices in step with their group, also where several nodes change it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceMembers } from '../core/device-members.ts'
import type { StoredEntry } from '../core/entry.ts'
import { loadRoster } from '../core/member-rows.ts'
import { keyOf, put, remove } from '../core/ports.ts'
import { DEVICES, GROUPS, type GroupRow, MEMBERS, type MemberRow } from '../core/tables.ts'
import { type DeviceId, type GroupId, ofDevice, ofGroup, type Seq, type UserId } from '../protocol/ids.ts'
import { openStorage } from '../storage/open.ts'
import { IM } from './support/core.ts'

const pump = 'pump-1' as DeviceId
const ops = 'ops' as GroupId

test('a device is not brought in step with a group that another node changes meanwhile', async () => {
  await using storage = await openStorage({ engine: 'memory', clock: { now: () => 1 } })
  const { records } = storage
  const row = { name: 'Ops' } as GroupRow
  const member: MemberRow = { role: 'member', joinedSeq: 1 as Seq, joinedAt: 1, joinedN: 0 }
  const [inGroup, inDevice] = [keyOf(IM, ofGroup(ops)), keyOf(IM, ofDevice(pump))]
  await records.write([
    put(GROUPS, IM, ops, row, 0),
    put(DEVICES, IM, pump, { name: 'Pump', owner: 'alice' as UserId, createdAt: 1, group: ops }),
    put(MEMBERS, inGroup, 'alice', member),
    put(MEMBERS, inGroup, 'bob', member),
    put(MEMBERS, inDevice, 'alice', member),
  ])
  const removesBob = [put(GROUPS, IM, ops, row, 1), remove(MEMBERS, inGroup, 'bob')]
  const { devicesOf } = deviceMembers({
    records,
    members: {
      roster: async key => loadRoster(records, key),
      inTurn: (_, work) => work(),
      change: async (_, { joined = [], changes }) => {
        await records.write(removesBob.splice(0))
        const rows = joined.map(({ member: who }) => put(MEMBERS, inDevice, who, member))
        await records.write([...rows, ...(changes?.({ seq: 2 as Seq, n: 0, sentAt: 1 }) ?? [])])
        return {} as StoredEntry
      },
    },
  })
  await assert.rejects(devicesOf(IM, ops, 'alice' as UserId), { code: 'conflict' })
  await devicesOf(IM, ops, 'alice' as UserId)
  assert.deepEqual([...(await loadRoster(records, inDevice)).keys()], ['alice'])
})
