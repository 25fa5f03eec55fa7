/** Wills: told when a connection ends without DISCONNECT, after their delay, once, also when the server died with it. */
import type { Known } from '../core/caller.ts'
import type { Run } from '../core/run.ts'
import { Fault } from '../protocol/faults.ts'
import type { DeviceId, UserId } from '../protocol/ids.ts'
import { isDevice } from './filters.ts'
import { requestOf } from './requests.ts'
import type { SessionRow, StoredWill } from './sessions.ts'

/**
 * Publishes a will as its client would: permission is asked again. The id made of the session's epoch keeps it one
 * message if it is told twice around a crash.
 * @throws Fault: temporary ones; a will that is refused for good is gone.
 */
export async function tellWill(
  run: Run,
  row: Pick<SessionRow, 'app' | 'member' | 'grant' | 'epoch'>,
  will: StoredWill,
): Promise<void> {
  try {
    const { operation, input } = requestOf({ topic: will.topic, payload: Buffer.from(will.payload, 'base64') }, row.app)
    const appends = operation !== 'sendTelemetry'
    const once = appends && input.clientMessageId === undefined ? { clientMessageId: `will:${row.epoch}` } : {}
    await run(operation, callerOf(row), { ...input, ...once })
  } catch (thrown) {
    const fault = Fault.from(thrown)
    if (!fault.row.final) throw fault
  }
}

function callerOf({ app, member, grant }: Pick<SessionRow, 'app' | 'member' | 'grant'>): Known {
  const common = { app, member, grant, address: 'will' }
  return isDevice(member)
    ? { kind: 'device', device: member.slice(2) as DeviceId, ...common }
    : { kind: 'user', user: member as UserId, ...common }
}
