/** Members: who is in which conversation; in memory for what is in use, changed only by entries of the log. */
import { Fault } from '../protocol/faults.ts'
import {
  type AppId,
  type ConversationId,
  type GroupId,
  kindOf,
  type Member,
  ofGroup,
  partsOf,
  type Seq,
  type UserId,
} from '../protocol/ids.ts'
import type { StoredEntry } from './entry.ts'
import { Kept } from './kept.ts'
import { type Delta, deltaOf, loadRoster, pageOf, rowChanges, told } from './member-rows.ts'
import {
  type AppendOptions,
  type ConversationKey,
  keyOf,
  type Memberships,
  type MessageLog,
  type Records,
  splitKey,
} from './ports.ts'
import type { Members, RosterChange } from './roster.ts'
import type { Gates } from './run.ts'
import { MEMBERS, type MemberRow } from './tables.ts'
import { turns } from './turns.ts'

/** Member rows in memory, of all rosters together. */
const MAX_KEPT = 200_000
/** The place of anyone whom the conversation's id names. */
const NAMED: MemberRow = { role: 'member', joinedSeq: 1 as Seq, joinedAt: 0, joinedN: 0 }

type Followed = Parameters<Parameters<Memberships['follow']>[0]>[0]
interface Needs {
  log: Pick<MessageLog, 'append' | 'follow' | 'watch'>
  records: Pick<Records, 'get' | 'scan'>
}

/** Must be made before anything else that follows the log: it knows of a change before the entry is delivered. */
export function members(needs: Needs) {
  const book = new Book(needs)
  const memberships: Memberships = {
    of: (app, member, after) => pageOf(needs.records, app, member, after),
    async get(app, member, conversation) {
      const place = await book.listed(app, member, conversation)
      return place && { conversation, joinedSeq: place.joinedSeq }
    },
    async stored(app, member, conversation) {
      const place = isNamed(conversation)
        ? await book.listed(app, member, conversation)
        : (await needs.records.get(MEMBERS, keyOf(app, conversation), member))?.row
      return place && { conversation, joinedSeq: place.joinedSeq }
    },
    follow: listener => book.follow(listener),
  }
  return { members: book as Members, memberships, gate: gate(book) }
}

class Book implements Members {
  readonly inTurn = turns()
  readonly #log: Needs['log']
  readonly #rosters: Kept<Map<Member, MemberRow>>
  readonly #leaving = new Map<ConversationKey, ReadonlySet<Member>>()
  /** What a change under way will do, until its entry is durable. */
  readonly #pending = new Map<ConversationKey, { seq: Seq; delta: Delta }>()
  readonly #listeners = new Set<(change: Followed) => void>()

  constructor({ log, records }: Needs) {
    this.#log = log
    this.#rosters = new Kept({
      load: key => loadRoster(records, key as ConversationKey),
      most: MAX_KEPT,
      weigh: roster => roster.size + 1,
      // Who is in may change on any node.
      hold: key => log.watch(key as ConversationKey),
    })
    log.follow(
      (key, entry, elsewhere) => {
        const change = entry.kind === 'members' ? this.#apply(key, entry, elsewhere) : opened(key, entry)
        if (change) for (const listener of this.#listeners) listener(change)
      },
      key => this.#rosters.drop(key),
    )
  }

  place(app: AppId, member: Member, conversation: ConversationId) {
    if (this.#leaving.get(keyOf(app, conversation))?.has(member)) return undefined
    return this.listed(app, member, conversation)
  }

  /** Their place by the last durable entry, on the way out or not. */
  listed(app: AppId, member: Member, conversation: ConversationId) {
    if (isNamed(conversation)) return names(conversation, member) ? NAMED : undefined
    const roster = this.#rosters.get(keyOf(app, conversation))
    return roster instanceof Promise ? roster.then(all => all.get(member)) : roster.get(member)
  }

  roster(key: ConversationKey) {
    return this.#rosters.get(key)
  }

  peek(key: ConversationKey) {
    return this.#rosters.peek(key)
  }

  async change(key: ConversationKey, change: RosterChange): Promise<StoredEntry> {
    const { action, by, users, fields, left = [] } = change
    this.#leaving.set(key, new Set(left))
    const judged = this.#rosters.peek(key)
    const changes: AppendOptions['changes'] = at => {
      // Another node's change has come between.
      if (this.#rosters.peek(key) !== judged) throw new Fault('conflict')
      const delta = deltaOf(change, at)
      this.#pending.set(key, { seq: at.seq, delta })
      return [...rowChanges(key, delta), ...(change.changes?.(at) ?? [])]
    }
    try {
      // Enqueued within this call: whatever the leaving sent before has a lower number, and nothing follows.
      return await this.#log.append(
        key,
        { kind: 'members', from: by, body: { action, by, users, ...fields } },
        { changes },
      )
    } catch (fault) {
      // Stored or not may be unknown: the next look reads what is there.
      this.#rosters.drop(key)
      throw fault
    } finally {
      this.#leaving.delete(key)
      this.#pending.delete(key)
    }
  }

  follow(listener: (change: Followed) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #apply(key: ConversationKey, entry: StoredEntry, elsewhere?: true): Followed | undefined {
    const at = { ...splitKey(key), seq: entry.seq }
    // A notice of a change elsewhere changes nothing here.
    if (isNamed(at.conversation)) return undefined
    const pending = this.#pending.get(key)
    const roster = this.#rosters.peek(key)
    if (elsewhere || pending?.seq !== entry.seq) {
      this.#rosters.drop(key)
      return { ...at, ...told(entry, at.conversation, roster) }
    }
    const { rows, joined, left } = pending.delta
    if (roster) {
      for (const [member, row] of rows) roster.set(member, row)
      for (const member of left) roster.delete(member)
      this.#rosters.keep(key, roster)
    } else this.#rosters.drop(key)
    return { ...at, joined, left: [...left] }
  }
}

/** Refuses who is not in the conversation, or the group, that a request names. */
function gate(members: Members): Gates['member'] {
  return (caller, input) => {
    const conversation = (input.conversation ?? ofGroup(input.group as GroupId)) as ConversationId
    const place = members.place(caller.app, caller.member, conversation)
    if (place instanceof Promise) return place.then(found => refuse(found))
    return refuse(place)

    function refuse(place: MemberRow | undefined): void {
      if (place) return
      const nobody = members.peek(keyOf(caller.app, conversation))?.size === 0
      throw new Fault(input.group !== undefined && nobody ? 'no-such-group' : 'not-a-member')
    }
  }
}

// ---- who is in by the id alone ----

function isNamed(conversation: ConversationId): boolean {
  const kind = kindOf(conversation)
  return kind === 'user' || kind === 'notice' || kind === 'broadcast'
}
function names(conversation: ConversationId, member: Member): boolean {
  return kindOf(conversation) !== 'broadcast' && partsOf(conversation).includes(member)
}

/** The first message between two users makes both of them members. */
function opened(key: ConversationKey, entry: StoredEntry): Followed | undefined {
  if (entry.seq !== 1) return undefined
  const at = splitKey(key)
  if (kindOf(at.conversation) !== 'user') return undefined
  return { ...at, seq: entry.seq, joined: [...new Set(partsOf(at.conversation) as UserId[])], left: [] }
}
