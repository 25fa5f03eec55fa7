/** Who of those connected here gets what: from the log's new entries and from changes of membership to the pumps. */
import type { StoredEntry } from '../core/entry.ts'
import { type ConversationKey, type Memberships, type MessageLog, splitKey } from '../core/ports.ts'
import { type AppId, type ConversationId, type Member, partsOf, type Seq } from '../protocol/ids.ts'
import type { Cursor } from './cursor.ts'

/** A session that is connected here, as delivery needs it. */
export interface Reading {
  readonly id: { app: AppId; member: Member }
  joined(conversation: ConversationId, joinedSeq: Seq): void
  leaves(conversation: ConversationId): void
}

export class Delivery {
  /** Cursors of connected sessions, by conversation: a new entry costs nothing for members who are away. */
  readonly #listeners = new Map<ConversationKey, Set<Cursor>>()
  readonly #sessions = new Map<string, Set<Reading>>()
  readonly #stop: (() => void)[]

  constructor(log: Pick<MessageLog, 'follow'>, memberships: Pick<Memberships, 'follow'>) {
    this.#stop = [
      memberships.follow(({ app, conversation, seq, joined, left }) => {
        for (const member of left) for (const session of this.of(app, member)) session.leaves(conversation)
        for (const member of joined) for (const session of this.of(app, member)) session.joined(conversation, seq)
      }),
      log.follow((conversation, entry) => this.#stored(conversation, entry)),
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

  listen(cursor: Cursor): void {
    const all = this.#listeners.get(cursor.key)
    if (all) all.add(cursor)
    else this.#listeners.set(cursor.key, new Set([cursor]))
  }

  unlisten(cursor: Cursor): void {
    const all = this.#listeners.get(cursor.key)
    if (all?.delete(cursor) && all.size === 0) this.#listeners.delete(cursor.key)
  }

  #stored(conversation: ConversationKey, entry: StoredEntry): void {
    if (entry.seq === 1) this.#began(conversation)
    const cursors = this.#listeners.get(conversation)
    if (cursors) for (const cursor of cursors) cursor.reader.arrived(cursor, entry)
  }

  /** Two people's conversation begins with its first entry; nobody was told of its members before. */
  #began(key: ConversationKey): void {
    const { app, conversation } = splitKey(key)
    if (!conversation.startsWith('u:')) return
    for (const user of new Set(partsOf(conversation))) {
      for (const session of this.of(app, user as Member)) session.joined(conversation, 1 as Seq)
    }
  }
}
