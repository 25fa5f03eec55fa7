/** Telemetry: a device's newest value, kept as sent, over restarts, and handed to whoever may read it. */
import { type AppId, DeviceId, type EpochMs, type Member, ofDevice } from '../protocol/ids.ts'
import type { Input } from '../protocol/operations.ts'
import { filterTakes, hasWildcard, matchTopic, rowsTaken, topic } from '../protocol/topics.ts'
import type { Device, Turn } from './caller.ts'
import { Lru } from './lru.ts'
import { type Connections, putRanked, type Records, type RetainedValues } from './ports.ts'
import type { Members } from './roster.ts'
import { MEMBERS, TELEMETRY, type TelemetryRow } from './tables.ts'

interface Needs {
  records: Pick<Records, 'get' | 'getMany' | 'scan' | 'write'>
  members: Pick<Members, 'place' | 'peek'>
  connections: Pick<Connections, 'retained'>
  permit: (caller: Device, device: DeviceId) => Promise<void> | undefined
  now: () => EpochMs
}

const PAGE = 100
/** Devices whose newest rank is in memory. */
const MAX_RANKS = 100_000
/** Values of one device within a millisecond keep their order. */
const STEPS = 100

export function telemetry({ records, members, connections, permit, now }: Needs) {
  const rankOf = ranking(records)

  async function sendTelemetry(caller: Device, input: Input<'sendTelemetry'>, turn?: Turn): Promise<undefined> {
    const { device, value, encoding } = input
    const allowed = permit(caller, device)
    if (allowed) await allowed
    const at = now()
    const rank = await rankOf(caller.app, device, at)
    const row: TelemetryRow = { value, ...(encoding && { encoding }), at }
    const written = records.write([putRanked(TELEMETRY, caller.app, device, row, rank)])
    turn?.enqueued()
    await written
    connections.retained(caller.app, topic('last', caller.app, device), bytesOf(row))
  }

  const retained: RetainedValues = {
    async of(app, member, filter, after) {
      if (!rowsTaken(filter, app).includes('last')) return { items: [] }
      if (!hasWildcard(filter)) return { items: await valuesOf(app, await named(app, member, filter), filter) }
      const range = { index: 'byMember', prefix: 'd:', limit: PAGE, ...(after !== undefined && { after }) }
      const page = await records.scan(MEMBERS, `${app}/${member}`, range)
      const devices = page.map(({ partition }) => partition.slice(`${app}/d:`.length) as DeviceId)
      const next = page.length === PAGE ? page.at(-1)?.cursor : undefined
      return { items: await valuesOf(app, devices, filter), ...(next !== undefined && { next }) }
    },
  }

  async function named(app: AppId, member: Member, name: string): Promise<DeviceId[]> {
    const device = DeviceId.safeParse(matchTopic(name)?.subject)
    if (!device.success) return []
    return (await members.place(app, member, ofDevice(device.data))) ? [device.data] : []
  }

  async function valuesOf(app: AppId, devices: readonly DeviceId[], filter: string) {
    // A filter without an app of its own stays in the reader's.
    const wanted = devices.filter(device => filterTakes(filter, topic('last', app, device)))
    const rows = await records.getMany(
      TELEMETRY,
      wanted.map(key => ({ partition: app, key })),
    )
    return wanted.flatMap((device, i) => {
      const row = rows[i]?.row
      return row ? [{ topic: topic('last', app, device), payload: bytesOf(row) }] : []
    })
  }

  return { sendTelemetry, retained }
}

/** By the clock, but above the value before: a device that moves between machines is not held up by their clocks. */
function ranking(records: Pick<Records, 'get'>) {
  const ranks = new Lru<number>(MAX_RANKS)
  return async (app: AppId, device: DeviceId, at: EpochMs): Promise<number> => {
    const name = `${app}/${device}`
    const stored = ranks.get(name) ?? (await records.get(TELEMETRY, app, device))?.version ?? 0
    const rank = Math.max(at * STEPS, (ranks.get(name) ?? stored) + 1)
    ranks.set(name, rank)
    return rank
  }
}

function bytesOf({ value, encoding }: TelemetryRow): Uint8Array {
  return Buffer.from(value, encoding ?? 'utf8')
}
