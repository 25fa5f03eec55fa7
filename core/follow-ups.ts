/**
 * What a change of a group has to do in other conversations: notices to those who were put out, and the members of its
 * devices. It is written down with the change and struck out when done, so a crash between loses none of it.
 */
import { type AppId, type GroupId, noticesOf, ofGroup, type UserId } from '../protocol/ids.ts'
import { type Change, keyOf, type MessageLog, put, type Records, remove, type Scheduler } from './ports.ts'
import { FOLLOW_UPS, type FollowUp } from './tables.ts'

interface Needs {
  log: Pick<MessageLog, 'append'>
  records: Pick<Records, 'scan' | 'write'>
  scheduler: Pick<Scheduler, 'after'>
  /** Brings the members of the group's devices in step with the group. */
  devicesOf: (app: AppId, group: GroupId, by: UserId) => Promise<void>
}

const DUE = 'due'
/** Notices under way at once. */
const MANY = 500
const AGAIN_MS = 2_000

export interface FollowUps {
  /** Belongs into the atomic write of the change. */
  due(what: FollowUp): Change
  /** Does it. What cannot be done now is done later; never throws. */
  finish(what: FollowUp): Promise<void>
  /** Does later what was written down, where it is not known whether anything was. */
  lookAgain(): void
}

export function followUps({ log, records, scheduler, devicesOf }: Needs) {
  let cancel: (() => void) | undefined
  let closed = false

  async function finish(what: FollowUp): Promise<void> {
    try {
      await devicesOf(what.app, what.group, what.by)
      for (let at = 0; at < what.notify.length; at += MANY)
        await Promise.all(what.notify.slice(at, at + MANY).map(user => notice(what, user)))
      await records.write([remove(FOLLOW_UPS, DUE, what.id)])
    } catch {
      // The change itself is stored; what follows from it is tried until it is, too.
      lookAgain()
    }
  }

  function lookAgain(): void {
    if (closed || cancel) return
    cancel = scheduler.after(AGAIN_MS, () => {
      cancel = undefined
      resume().catch(lookAgain)
    })
  }

  function notice({ app, group, id, action, by, name }: FollowUp, user: UserId) {
    const body = { action, about: ofGroup(group), by, users: [user], name, clientMessageId: id }
    return log.append(keyOf(app, noticesOf(user)), { kind: 'members', from: '$system', body })
  }

  /** Does all that is written down: at the start, what the last run of the server left. */
  async function resume(): Promise<void> {
    for (let after: string | undefined; ; ) {
      const page = await records.scan(FOLLOW_UPS, DUE, { limit: 100, ...(after !== undefined && { after }) })
      for (const { row } of page) await finish(row)
      after = page.at(-1)?.cursor
      if (page.length < 100) return
    }
  }

  function close(): void {
    closed = true
    cancel?.()
  }

  return { due: (what: FollowUp) => put(FOLLOW_UPS, DUE, what.id, what, 0), finish, lookAgain, resume, close }
}
