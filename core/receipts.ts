/** Receipts: how far each member has got and read a conversation. Marks only go up, whoever writes them. */
import { Fault, isConflict } from '../protocol/faults.ts'
import type { Member, Seq, UserId } from '../protocol/ids.ts'
import type { Input } from '../protocol/operations.ts'
import type { Known } from './caller.ts'
import { type Marks, marksOf, together } from './marks.ts'
import type { Moved } from './news.ts'
import { type ConversationKey, keyOf, type MessageLog, put, type Records } from './ports.ts'
import type { VisibleFrom } from './sight.ts'
import { DELIVERED, MARKS, type MarkRow, MEMBERS } from './tables.ts'

interface Needs {
  log: Pick<MessageLog, 'get' | 'tails'>
  records: Pick<Records, 'get' | 'getMany' | 'scan' | 'write'>
  visibleFrom: VisibleFrom
  tell: (key: ConversationKey, moves: readonly { member: Member; moved: Moved }[]) => Promise<void>
}

/** Another session of the same member moved the mark; it is read again. */
const ATTEMPTS = 20

export function receipts({ log, records, visibleFrom, tell }: Needs) {
  async function markRead(caller: Known, { conversation, upTo }: Input<'markRead'>): Promise<undefined> {
    const key = keyOf(caller.app, conversation)
    const [tail] = await log.tails([key])
    if (!tail || upTo > tail.seq) throw new Fault('beyond-the-end', { tail: tail?.seq ?? 0 })
    if (upTo === 0) return
    const readN = upTo === tail.seq ? tail.n : await countAt(log, key, upTo as Seq)
    for (let attempt = 1; ; attempt++) {
      const [found, delivered] = await Promise.all([
        records.get(MARKS, key, caller.member),
        records.get(DELIVERED, key, caller.member),
      ])
      const marks = together(found?.row, delivered?.row)
      const before = marks.readUpTo
      if (upTo <= before) return
      // What is read has been got.
      const deliveredUpTo = Math.max(marks.deliveredUpTo, upTo)
      const next: MarkRow = { readUpTo: upTo, readN, deliveredUpTo }
      try {
        await records.write([put(MARKS, key, caller.member, next, found?.version ?? 0)])
        const moved: Moved = { readUpTo: upTo, deliveredUpTo, before }
        void tell(key, [{ member: caller.member, moved }])
        return
      } catch (fault) {
        if (!isConflict(fault) || attempt === ATTEMPTS) throw fault
      }
    }
  }

  async function getReceipts(caller: Known, { conversation, seq, limit, cursor }: Input<'getReceipts'>) {
    const key = keyOf(caller.app, conversation)
    const first = await visibleFrom(caller.app, caller.member, conversation)
    if (first === undefined) throw new Fault('not-a-member')
    const [entry] = await log.get([{ conversation: key, seq }])
    if (!entry || seq < first) throw new Fault('no-such-entry')
    const page = await records.scan(MEMBERS, key, { limit, ...(cursor !== undefined && { after: cursor }) })
    // Who came later never gets the entry.
    const readers = page.filter(({ key, row }) => key !== entry.from && !key.startsWith('d:') && row.joinedSeq <= seq)
    const marks = await marksOf(
      records,
      readers.map(({ partition, key }) => ({ partition, key })),
    )
    const items = readers.map(({ key }, i) => {
      const { deliveredUpTo, readUpTo } = marks[i] as Marks
      return { user: key as UserId, deliveredUpTo, readUpTo }
    })
    const next = page.length === limit ? page.at(-1)?.cursor : undefined
    return { items, ...(next !== undefined && { next }) }
  }

  return { markRead, getReceipts }
}

/** Messages up to an entry; where it was removed, up to the first that is there. */
async function countAt(log: Needs['log'], conversation: ConversationKey, seq: Seq): Promise<number> {
  for (;;) {
    const [tail] = await log.tails([conversation])
    const at = Math.max(seq, tail?.first ?? 1) as Seq
    const [entry] = await log.get([{ conversation, seq: at }])
    if (entry) return at > seq && entry.kind === 'message' ? entry.n - 1 : entry.n
  }
}
