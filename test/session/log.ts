/** A log in memory, whose answers and words to followers wait for their turn. */
import { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey, MessageLog } from '../../core/ports.ts'
import type { Seq, UserId } from '../../protocol/ids.ts'
import type { Turns } from './turns.ts'

const alice = 'alice' as UserId

export class MemoryLog implements Pick<MessageLog, 'read' | 'get' | 'tails' | 'follow' | 'watch'> {
  readonly entries = new Map<ConversationKey, StoredEntry[]>()
  readonly #first = new Map<ConversationKey, number>()
  readonly #turns: Turns
  readonly #followers: ((conversation: ConversationKey, entry: StoredEntry) => void)[] = []
  readonly #losers: ((conversation: ConversationKey) => void)[] = []
  constructor(turns: Turns) {
    this.#turns = turns
  }
  /** How often each is watched. */
  readonly watched = new Map<ConversationKey, number>()
  watch(conversation: ConversationKey) {
    const count = this.watched.get(conversation) ?? 0
    this.watched.set(conversation, count + 1)
    // What passed before it was watched is looked for.
    if (count === 0) this.lost(conversation)
    return () => this.watched.set(conversation, (this.watched.get(conversation) ?? 0) - 1)
  }
  /** Entries may have passed unheard. */
  lost(conversation: ConversationKey) {
    this.#turns.soon(() => {
      for (const lost of this.#losers) lost(conversation)
    })
  }
  of(conversation: ConversationKey) {
    const list = this.entries.get(conversation) ?? []
    this.entries.set(conversation, list)
    return list
  }
  append(conversation: ConversationKey, kind: 'message' | 'members' = 'message') {
    const list = this.of(conversation)
    const seq = (list.length + 1) as Seq
    const entry = new StoredEntry(
      { seq, n: seq, kind, from: alice, sentAt: seq },
      // Some fit in what the window has left, and some do not.
      Buffer.from(JSON.stringify({ conversation: conversation.slice(3), seq, text: 'x'.repeat((seq * 137) % 700) })),
    )
    list.push(entry)
    return entry
  }
  first(conversation: ConversationKey) {
    return this.#first.get(conversation) ?? 1
  }
  /** Removes a share of what is there, never the last entry. */
  trim(conversation: ConversationKey, share: number) {
    const first = this.first(conversation)
    this.#first.set(conversation, first + Math.floor(Math.max(0, this.of(conversation).length - first) * share))
  }
  publish(conversation: ConversationKey, entry: StoredEntry) {
    for (const follower of this.#followers) follower(conversation, entry)
  }
  read(
    conversation: ConversationKey,
    { after = 0, before, limit }: { after?: number; before?: number; limit: number },
  ) {
    return this.#turns.later(() =>
      this.of(conversation)
        .filter(({ seq }) => seq > after && seq >= this.first(conversation) && (before === undefined || seq < before))
        .slice(0, limit),
    )
  }
  get(wanted: readonly { conversation: ConversationKey; seq: Seq }[]) {
    return this.#turns.later(() =>
      wanted.map(({ conversation, seq }) =>
        seq < this.first(conversation) ? undefined : this.of(conversation)[seq - 1],
      ),
    )
  }
  tails(conversations: readonly ConversationKey[]) {
    return this.#turns.later(() =>
      conversations.map(key => ({ seq: this.of(key).length as Seq, n: 0, sentAt: 0, first: this.first(key) as Seq })),
    )
  }
  follow(
    listener: (conversation: ConversationKey, entry: StoredEntry) => void,
    lost: (conversation: ConversationKey) => void,
  ) {
    this.#followers.push(listener)
    this.#losers.push(lost)
    return () => {}
  }
}
