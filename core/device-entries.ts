/** What devices say and are told: alerts, commands and results are entries of the device's conversation. */
import { Fault } from '../protocol/faults.ts'
import { type AppId, type DeviceId, type Member, ofDevice } from '../protocol/ids.ts'
import type { Input } from '../protocol/operations.ts'
import type { Device, Known, Turn, User } from './caller.ts'
import type { StoredEntry } from './entry.ts'
import { judging } from './judging.ts'
import { type EntryDraft, keyOf, type MessageLog } from './ports.ts'
import type { Members } from './roster.ts'

interface Needs {
  log: Pick<MessageLog, 'append'>
  members: Pick<Members, 'place' | 'peek'>
}

export function deviceEntries({ log, members }: Needs) {
  async function sendAlert(caller: Device, { device, ...body }: Input<'sendAlert'>, turn?: Turn): Promise<StoredEntry> {
    return append(caller, device, { kind: 'message', from: caller.member, body: { type: 'alert', ...body } }, turn)
  }

  async function sendResult(
    caller: Device,
    { device, ...body }: Input<'sendResult'>,
    turn?: Turn,
  ): Promise<StoredEntry> {
    return append(caller, device, { kind: 'result', from: caller.member, body }, turn)
  }

  async function sendCommand(
    caller: User,
    { device, ...body }: Input<'sendCommand'>,
    turn?: Turn,
  ): Promise<StoredEntry> {
    return append(caller, device, { kind: 'command', from: caller.member, body }, turn)
  }

  async function append(caller: Known, device: DeviceId, draft: EntryDraft, turn?: Turn): Promise<StoredEntry> {
    const allowed = permit(members, caller, device)
    if (allowed) await allowed
    const key = keyOf(caller.app, ofDevice(device))
    const stored = log.append(key, draft, {
      ...(turn?.changes && { changes: turn.changes }),
      ...judging(key, turn, () => permit(members, caller, device)),
    })
    turn?.enqueued()
    return stored
  }

  return { sendAlert, sendResult, sendCommand }
}

/**
 * A device speaks for itself only; a user must be with it; and it must not be deleted. At once where that is at hand.
 */
export function permit(
  members: Pick<Members, 'place' | 'peek'>,
  caller: Known,
  device: DeviceId,
): Promise<void> | undefined {
  if (caller.kind === 'device' && caller.device !== device) throw new Fault('not-allowed')
  const place = members.place(caller.app, caller.member, ofDevice(device))
  // Asked until it is answered at once: nothing may come between this answer and the append.
  if (place instanceof Promise) return place.then(() => permit(members, caller, device))
  if (!isThere(members, caller.app, device)) throw new Fault('no-such-device')
  if (!place) throw new Fault('not-a-member')
  return undefined
}

/** A deleted device is no longer in its own conversation. */
const isThere = (members: Pick<Members, 'peek'>, app: AppId, device: DeviceId) =>
  members.peek(keyOf(app, ofDevice(device)))?.has(ofDevice(device) as string as Member) === true
