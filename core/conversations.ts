/** Conversations: the caller's list, newest first, with what is new in each. Unread is computed, never counted. */
import { Fault } from '../protocol/faults.ts'
import { type ConversationId, type EpochMs, kindOf, noticesOf, partsOf, type Seq } from '../protocol/ids.ts'
import type { Input } from '../protocol/operations.ts'
import type { Known, User } from './caller.ts'
import { type StoredEntry, unexpired } from './entry.ts'
import { type Marks, marksOf } from './marks.ts'
import { type ConversationKey, keyOf, type MessageLog, type Records, splitKey, type Tail } from './ports.ts'
import type { Members } from './roster.ts'
import { DEVICES, type GroupRow, MEMBERS, SENT } from './tables.ts'

interface Needs {
  log: Pick<MessageLog, 'tails' | 'get'>
  records: Pick<Records, 'scan' | 'getMany'>
  members: Pick<Members, 'place'>
  group: (key: ConversationKey) => GroupRow | undefined | Promise<GroupRow | undefined>
  now: () => EpochMs
}

const PAGE = 1_000
/** What one is in: how many messages there were when one came. */
interface Place {
  conversation: ConversationId
  joinedN: number
}
interface Dated extends Place {
  tail: Tail & { seq: Seq }
}
interface Listed {
  conversation: ConversationId
  name?: string
  last: StoredEntry
  unread: number
  readUpTo: number
  deliveredUpTo: number
}

export function conversations(needs: Needs) {
  async function listConversations(caller: User, { limit, cursor }: Input<'listConversations'>) {
    const behind = cursor === undefined ? undefined : position(cursor)
    const all = (await dated(needs, caller)).filter(one => behind === undefined || byNews(behind, place(one)) < 0)
    all.sort((a, b) => byNews(place(a), place(b)))
    const page = all.slice(0, limit)
    const items = await described(needs, caller, page)
    const last = page.at(-1)
    return { items, ...(all.length > limit && last && { next: cursorOf(place(last)) }) }
  }

  async function getConversation(caller: Known, { conversation }: Input<'getConversation'>) {
    const found = await needs.members.place(caller.app, caller.member, conversation)
    if (!found) throw new Fault('not-a-member')
    const [tail] = await needs.log.tails([keyOf(caller.app, conversation)])
    if (!tail || tail.seq === 0) return { conversation, unread: 0, readUpTo: 0, deliveredUpTo: 0 }
    const [item] = await described(needs, caller, [
      { conversation, joinedN: found.joinedN, tail: { ...tail, seq: tail.seq } },
    ])
    return item as Listed
  }

  return { listConversations, getConversation }
}

/** All conversations of the caller in which something was ever said, by batched reads. */
async function dated({ records, log }: Needs, { app, user, member }: User): Promise<Dated[]> {
  const found: Dated[] = []
  let places: Place[] = [{ conversation: noticesOf(user), joinedN: 0 }]
  for (let after: string | undefined; ; ) {
    const range = { index: 'byMember', limit: PAGE, ...(after !== undefined && { after }) }
    const page = await records.scan(MEMBERS, `${app}/${member}`, range)
    places.push(...page.map(({ partition, row }) => ({ ...splitKey(partition as ConversationKey), ...row })))
    const tails = await log.tails(places.map(({ conversation }) => keyOf(app, conversation)))
    places.forEach(({ conversation, joinedN }, i) => {
      const { seq, ...tail } = tails[i] as Tail
      if (seq > 0) found.push({ conversation, joinedN, tail: { ...tail, seq: seq as Seq } })
    })
    places = []
    after = page.at(-1)?.cursor
    if (page.length < PAGE) return found
  }
}

async function described(needs: Needs, { app, member }: Known, page: readonly Dated[]): Promise<Listed[]> {
  const wanted = page.map(({ conversation, tail }) => ({ conversation: keyOf(app, conversation), seq: tail.seq }))
  const own = wanted.map(({ conversation }) => ({ partition: conversation, key: member as string }))
  const [last, marks, sent, names] = await Promise.all([
    needs.log.get(wanted),
    marksOf(needs.records, own),
    needs.records.getMany(SENT, own),
    namesOf(needs, app, page),
  ])
  return page.flatMap(({ conversation, joinedN, tail }, i) => {
    const entry = last[i]
    if (!entry) return []
    const { readUpTo, readN, deliveredUpTo } = marks[i] as Marks
    const known = Math.max(readN, sent[i]?.row.n ?? 0, joinedN)
    const name = names[i]
    const counts = { unread: Math.max(0, tail.n - known), readUpTo, deliveredUpTo }
    return [{ conversation, ...(name !== undefined && { name }), last: unexpired(entry, needs.now()), ...counts }]
  })
}

async function namesOf(
  { records, group }: Needs,
  app: string,
  page: readonly Dated[],
): Promise<(string | undefined)[]> {
  const things = page.filter(({ conversation }) => kindOf(conversation) === 'device')
  const rows = await records.getMany(
    DEVICES,
    things.map(({ conversation }) => ({ partition: app, key: partsOf(conversation)[0] as string })),
  )
  const devices = new Map(
    rows.flatMap(found => (found ? [[`d:${found.key}`, found.row.name]] : [])) as [string, string][],
  )
  return Promise.all(
    page.map(async ({ conversation }) =>
      kindOf(conversation) === 'group'
        ? (await group(`${app}/${conversation}` as ConversationKey))?.name
        : devices.get(conversation),
    ),
  )
}

// ---- order: newest first, then by id ----

type Position = readonly [sentAt: EpochMs, conversation: string]
const place = ({ tail, conversation }: Dated): Position => [tail.sentAt, conversation]
const byNews = (a: Position, b: Position) => b[0] - a[0] || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0)
const cursorOf = (at: Position) => Buffer.from(JSON.stringify(at)).toString('base64url')

function position(cursor: string): Position {
  try {
    const [sentAt, conversation] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    if (!Number.isSafeInteger(sentAt) || typeof conversation !== 'string') throw new TypeError('not a cursor')
    return [sentAt as EpochMs, conversation]
  } catch (cause) {
    throw new Fault(
      'malformed',
      { issues: [{ path: ['cursor'], message: 'The cursor is not one of this list.' }] },
      { cause },
    )
  }
}
