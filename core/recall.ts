/** Recall: a message is taken back; the log keeps its number and drops its body. */
import { Fault } from '../protocol/faults.ts'
import { type EpochMs, kindOf } from '../protocol/ids.ts'
import type { Input } from '../protocol/operations.ts'
import type { Known, Turn } from './caller.ts'
import type { StoredEntry } from './entry.ts'
import { judging } from './judging.ts'
import { keyOf, type MessageLog } from './ports.ts'
import type { Members } from './roster.ts'
import type { VisibleFrom } from './sight.ts'

interface Needs {
  log: Pick<MessageLog, 'get' | 'append'>
  members: Pick<Members, 'place'>
  visibleFrom: VisibleFrom
  now: () => EpochMs
  recallWindowMs: number
}

export function recall({ log, members, visibleFrom, now, recallWindowMs }: Needs) {
  async function recallMessage(
    caller: Known,
    { conversation, seq }: Input<'recallMessage'>,
    turn?: Turn,
  ): Promise<StoredEntry> {
    const key = keyOf(caller.app, conversation)
    const first = await visibleFrom(caller.app, caller.member, conversation)
    const [message] = await log.get([{ conversation: key, seq }])
    if (first === undefined) throw new Fault('not-a-member')
    if (!message || seq < first) throw new Fault('no-such-entry')
    if (message.kind !== 'message') throw new Fault('not-allowed')
    if (message.entry.retracted) throw new Fault('already-recalled')

    const mayRecall = async () => {
      const place = await members.place(caller.app, caller.member, conversation)
      if (!place) throw new Fault('not-a-member')
      const decides = kindOf(conversation) === 'group' && place.role !== 'member'
      if (!decides && message.from !== caller.member) throw new Fault('not-allowed')
      if (!decides && now() - message.sentAt > recallWindowMs) throw new Fault('recall-window-over', { recallWindowMs })
    }
    // Looked at again now that the message is here: whoever left meanwhile takes nothing back.
    await mayRecall()

    // One atomic write: absent devices learn of it from the log, and the body is gone.
    const stored = log.append(
      key,
      { kind: 'recall', from: caller.member, body: { target: seq } },
      { retracts: seq, changes: at => turn?.changes?.(at) ?? [], ...judging(key, turn, mayRecall) },
    )
    turn?.enqueued()
    return stored
  }
  return { recallMessage }
}
