/** Who of those connected here gets what: from the log's new entries and from changes of membership to the pumps. */
import type { StoredEntry } from '../core/entry.ts'
import { type ConversationKey, keyOf, type Memberships, type MessageLog, splitKey } from '../core/ports.ts'
import { type AppId, type ConversationId, type Member, partsOf, type Seq } from '../protocol/ids.ts'
import type { Cursor } from './cursor.ts'

/** A session that is connected here, as delivery needs it. */
export interface Reading {
  readonly id: { app: AppId; member: Member }
  joined(conversation: ConversationId, joinedSeq: Seq): void
  cameInto(conversation: ConversationId, joinedSeq: Seq): void
  leaves(conversation: ConversationId, seq: Seq): void
  lost(conversation: ConversationId): void
}

/** Cursors in one conversation, and whose they are. */
interface Audience {
  cursors: Map<Cursor, Reading>
  unwatch: () => void
}

export class Delivery {
  /** Cursors of connected sessions, by conversation: a new entry costs nothing for members who are away. */
  readonly #audiences = new Map<ConversationKey, Audience>()
  readonly #log: Pick<MessageLog, 'follow' | 'watch'>
  readonly #sessions = new Map<string, Set<Reading>>()
  readonly #stop: (() => void)[]

  constructor(log: Pick<MessageLog, 'follow' | 'watch'>, memberships: Pick<Memberships, 'follow'>) {
    this.#log = log
    this.#stop = [
      memberships.follow(({ app, conversation, seq, joined, left, dismissed }) => {
        const readers = dismissed ? this.#audiences.get(keyOf(app, conversation))?.cursors.values() : undefined
        for (const session of [...(readers ?? [])]) session.leaves(conversation, seq)
        for (const member of left) for (const session of this.of(app, member)) session.leaves(conversation, seq)
        this.joined(app, conversation, seq, joined)
      }),
      log.follow(
        (conversation, entry) => this.#stored(conversation, entry),
        conversation => this.#lost(conversation),
      ),
    ]
  }

  close(): void {
    for (const stop of this.#stop) stop()
  }

  add(session: Reading): void {
    const of = `${session.id.app}/${session.id.member}`
    const all = this.#sessions.get(of)
    if (all) all.add(session)
    else this.#sessions.set(of, new Set([session]))
  }

  remove(session: Reading): void {
    const of = `${session.id.app}/${session.id.member}`
    const all = this.#sessions.get(of)
    if (all?.delete(session) && all.size === 0) this.#sessions.delete(of)
  }

  /** Connected sessions of a member. */
  of(app: AppId, member: Member): Iterable<Reading> {
    return this.#sessions.get(`${app}/${member}`) ?? []
  }

  /** Members came into a conversation with that entry. */
  joined(app: AppId, conversation: ConversationId, seq: Seq, members: readonly Member[]): void {
    for (const member of members) for (const session of this.of(app, member)) session.joined(conversation, seq)
  }

  listen(cursor: Cursor, session: Reading): void {
    const audience = this.#audiences.get(cursor.key)
    if (audience) audience.cursors.set(cursor, session)
    else
      this.#audiences.set(cursor.key, {
        cursors: new Map([[cursor, session]]),
        unwatch: this.#log.watch(cursor.key),
      })
  }

  unlisten(cursor: Cursor): void {
    const audience = this.#audiences.get(cursor.key)
    if (!audience?.cursors.delete(cursor) || audience.cursors.size > 0) return
    this.#audiences.delete(cursor.key)
    audience.unwatch()
  }

  #lost(key: ConversationKey): void {
    const sessions = this.#audiences.get(key)?.cursors.values() ?? []
    for (const session of [...sessions]) session.lost(splitKey(key).conversation)
  }

  #stored(conversation: ConversationKey, entry: StoredEntry): void {
    if (entry.seq === 1) this.#began(conversation)
    const cursors = this.#audiences.get(conversation)?.cursors.keys()
    if (cursors) for (const cursor of cursors) cursor.reader.arrived(cursor, entry)
  }

  /** Two people's conversation begins with its first entry; nobody was told of its members before. */
  #began(key: ConversationKey): void {
    const { app, conversation } = splitKey(key)
    if (!conversation.startsWith('u:')) return
    this.joined(app, conversation, 1 as Seq, [...new Set(partsOf(conversation))] as Member[])
  }
}
