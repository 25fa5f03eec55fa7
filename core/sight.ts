/** What of a conversation a member sees: from which entry on. */
import { type AppId, type ConversationId, kindOf, type Member, type Seq } from '../protocol/ids.ts'
import { type ConversationKey, keyOf } from './ports.ts'
import type { Members } from './roster.ts'
import type { GroupRow, MemberRow } from './tables.ts'

interface Needs {
  members: Pick<Members, 'place'>
  /** A group's row, at once where it is at hand. */
  group: (key: ConversationKey) => GroupRow | undefined | Promise<GroupRow | undefined>
}

/** First entry that the member may see; nothing for one who is not in. */
export type VisibleFrom = (app: AppId, member: Member, conversation: ConversationId) => Promise<Seq | undefined>

export function sight({ members, group }: Needs): VisibleFrom {
  return async (app, member, conversation) => {
    const place = await members.place(app, member, conversation)
    if (!place) return undefined
    const all =
      kindOf(conversation) === 'group'
        ? (await group(keyOf(app, conversation)))?.history === 'all'
        : ownsAll(place, member, conversation)
    return all ? (1 as Seq) : place.joinedSeq
  }
}

/** A device and its owner see all of its conversation; who came by the owning group sees it since then. */
const ownsAll = (place: MemberRow, member: Member, conversation: ConversationId) =>
  place.role === 'owner' || member === (conversation as string)
