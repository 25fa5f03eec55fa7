/**
 * After the server lost the session (it expired, or the app came back with its store after a long time): finds what came
 * meanwhile, conversation by conversation, and has the inbox fetch it.
 */
import type { ConversationId } from '../protocol/ids.ts'
import type { Entry } from '../protocol/messages.ts'
import type { Account } from './account.ts'
import type { Inbox } from './inbox.ts'

const PAGE = 500
/** Entries of other conversations that were under way beside the newest one. */
const MARGIN_MS = 10_000

/** @throws Refusal */
export async function catchUp(account: Pick<Account, 'call'>, inbox: Inbox): Promise<void> {
  const since = inbox.newestAt - MARGIN_MS
  let cursor: string | undefined
  do {
    const page = await account.call('listConversations', { limit: PAGE, ...(cursor && { cursor }) })
    for (const { conversation, last } of page.items as { conversation: ConversationId; last: Entry }[]) {
      const position =
        inbox.position(conversation) ?? (last.sentAt >= since && (await startOf(account, conversation, since)))
      if (typeof position === 'number' && position < last.seq) inbox.missing(conversation, position, last.seq)
    }
    cursor = page.next
  } while (cursor)
}

/** The position before the first entry of a conversation that is new to this client. */
async function startOf(
  account: Pick<Account, 'call'>,
  conversation: ConversationId,
  since: number,
): Promise<number | undefined> {
  const page = await account.call('listMessages', { conversation, after: 0, since, limit: 1 })
  const [first] = page.items
  if (!first) return undefined
  return (first.kind === 'gap' ? first.from : first.seq) - 1
}
