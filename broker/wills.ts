/** Wills: told when a connection ends without DISCONNECT, after their delay, once, also when the server died with it. */
import type { Known } from '../core/caller.ts'
import type { Clock } from '../core/ports.ts'
import type { Run } from '../core/run.ts'
import { Fault } from '../protocol/faults.ts'
import type { DeviceId, EpochMs, UserId } from '../protocol/ids.ts'
import type { Connection } from './connection.ts'
import { isDevice } from './filters.ts'
import { requestOf } from './requests.ts'
import type { SessionRow, StoredWill } from './session-rows.ts'

/**
 * Publishes a will as its client would: permission is asked again.
 * @throws Fault: temporary ones; a will that is refused for good is gone.
 */
export async function tellWill(
  run: Run,
  row: Pick<SessionRow, 'app' | 'member' | 'grant'>,
  will: StoredWill,
): Promise<void> {
  try {
    const { operation, input } = requestOf({ topic: will.topic, payload: Buffer.from(will.payload, 'base64') }, row.app)
    const appends = operation !== 'sendTelemetry'
    const once = appends && input.clientMessageId === undefined ? { clientMessageId: `will:${will.id}` } : {}
    await run(operation, callerOf(row), { ...input, ...once })
  } catch (thrown) {
    const fault = Fault.from(thrown)
    if (!fault.row.final) throw fault
  }
}

/**
 * A connection has ended: tells its will, or says when it is to be told. `graceMs`: the server goes down, and the client has
 * so long to come back.
 */
export async function tellOrDelay(
  { client, session }: Connection,
  expirySeconds: number,
  { run, scheduler }: { run: Run; scheduler: Clock },
  graceMs: number,
): Promise<EpochMs | undefined> {
  const { row } = session.record
  const { will } = row
  if (client._disconnected || !will) return undefined
  const delayMs = Math.max(Math.min(will.delayMs, expirySeconds * 1000), graceMs)
  if (delayMs > 0) return scheduler.now() + delayMs
  return tellWill(run, row, will).then(
    () => undefined,
    () => scheduler.now(),
  )
}

/** A session ends: the will that waits for its delay is told now (MQTT 5, 3.1.3.2.2). @throws as `tellWill`. */
export async function tellLeftWill(run: Run, row: SessionRow): Promise<void> {
  const { will, willAt } = row
  // One without a delay waits only because the server went down; its client is here again.
  if (will && willAt !== undefined && will.delayMs > 0) await tellWill(run, row, will)
}

function callerOf({ app, member, grant }: Pick<SessionRow, 'app' | 'member' | 'grant'>): Known {
  const common = { app, member, grant, address: 'will' }
  return isDevice(member)
    ? { kind: 'device', device: member.slice(2) as DeviceId, ...common }
    : { kind: 'user', user: member as UserId, ...common }
}
