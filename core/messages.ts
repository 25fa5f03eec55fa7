/** Messages: what a member sends becomes the next entry of the conversation. */
import { Fault } from '../protocol/faults.ts'
import { type AppId, between, type ConversationId, kindOf, type Member, partsOf, type UserId } from '../protocol/ids.ts'
import type { Draft } from '../protocol/messages.ts'
import type { Input } from '../protocol/operations.ts'
import type { Known, Turn, User } from './caller.ts'
import type { StoredEntry } from './entry.ts'
import { judging } from './judging.ts'
import type { Expect } from './people.ts'
import {
  type AppendOptions,
  type Change,
  type ConversationKey,
  keyOf,
  type MessageLog,
  put,
  putRanked,
} from './ports.ts'
import type { Members } from './roster.ts'
import { MEMBERS, type MemberRow, SENT } from './tables.ts'

interface Needs {
  log: Pick<MessageLog, 'append'>
  members: Pick<Members, 'place' | 'peek' | 'roster'>
  expect: Expect
  now: () => number
}

export function messages({ log, members, expect, now }: Needs) {
  const { mayWrite, judge } = writers({ members, now })

  async function sendMessage(caller: Known, input: Input<'sendMessage'>, turn?: Turn): Promise<StoredEntry> {
    const { conversation, ...draft } = input
    if (kindOf(conversation) === 'user') {
      // Who is in is said by the id; whether the other exists is not.
      const unknown = expect(caller.app, partsOf(conversation) as UserId[])
      if (unknown) await unknown
    } else {
      // Asked until it is answered at once: nothing may come between this answer and the append.
      let place = members.place(caller.app, caller.member, conversation)
      while (place instanceof Promise) {
        await place
        place = members.place(caller.app, caller.member, conversation)
      }
      mayWrite(caller.app, conversation, place)
    }
    return post(caller, conversation, draft, turn, () => judge(caller, conversation))
  }

  async function sendMessageToUser(
    caller: User,
    { user, ...draft }: Input<'sendMessageToUser'>,
    turn?: Turn,
  ): Promise<StoredEntry> {
    const unknown = expect(caller.app, [user])
    if (unknown) await unknown
    return post(caller, between(caller.user, user), draft as Draft, turn)
  }

  function post(
    caller: Known,
    conversation: ConversationId,
    draft: Draft,
    turn?: Turn,
    mayWrite?: () => void | Promise<void>,
  ): Promise<StoredEntry> {
    if (draft.expiresAt !== undefined && draft.expiresAt <= now())
      throw new Fault('malformed', { issues: [{ path: ['expiresAt'], message: 'The time is past.' }] })
    const key = keyOf(caller.app, conversation)
    const stored = log.append(
      key,
      { kind: 'message', from: caller.member, body: draft },
      {
        changes: at => [...rows(key, conversation, caller.member, at), ...(turn?.changes?.(at) ?? [])],
        ...judging(key, turn, mayWrite),
      },
    )
    turn?.enqueued()
    return stored
  }

  return { sendMessage, sendMessageToUser }
}

/** Who may write in a conversation of more than two. */
function writers({ members, now }: Pick<Needs, 'members' | 'now'>) {
  function mayWrite(app: AppId, conversation: ConversationId, place: MemberRow | undefined): void {
    if (!place) throw new Fault('not-a-member')
    const kind = kindOf(conversation)
    if (kind !== 'group' && kind !== 'device') throw new Fault('not-allowed')
    if (place.mutedUntil !== undefined && place.mutedUntil > now())
      throw new Fault('muted', { mutedUntil: place.mutedUntil })
    // A deleted device is no longer in its own conversation.
    if (kind === 'device' && !members.peek(keyOf(app, conversation))?.has(conversation as Member))
      throw new Fault('no-such-device')
  }

  /** Another node may have put the sender out meanwhile. */
  function judge({ app, member }: Known, conversation: ConversationId): void | Promise<void> {
    if (kindOf(conversation) === 'user') return
    const roster = members.roster(keyOf(app, conversation))
    if (roster instanceof Promise) return roster.then(all => mayWrite(app, conversation, all.get(member)))
    mayWrite(app, conversation, roster.get(member))
  }

  return { mayWrite, judge }
}

type At = Parameters<NonNullable<AppendOptions['changes']>>[0]

/** Where the sender's last own message is, and, with the first message of two users, that both are in. */
function rows(key: ConversationKey, conversation: ConversationId, sender: Member, at: At): Change[] {
  const sent = putRanked(SENT, key, sender, { seq: at.seq, n: at.n }, at.seq)
  if (at.seq !== 1 || kindOf(conversation) !== 'user') return [sent]
  const row: MemberRow = { role: 'member', joinedSeq: at.seq, joinedAt: at.sentAt, joinedN: 0 }
  return [sent, ...[...new Set(partsOf(conversation))].map(user => put(MEMBERS, key, user, row))]
}
