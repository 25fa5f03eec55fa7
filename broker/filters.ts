/** The filters of a session: what they take, on which topic, at which QoS. Knows nothing of who may read what. */
import type { AppId, ConversationId, Member } from '../protocol/ids.ts'
import { kindOf, partsOf } from '../protocol/ids.ts'
import { hasWildcard, rowsTaken, TOPICS, topic } from '../protocol/topics.ts'
import { FilterTree } from './filter-tree.ts'

export interface Filter {
  qos: 0 | 1
  /** Subscription Identifier of MQTT 5. */
  id?: number
  /** Retain As Published of MQTT 5. */
  rap?: true
}

/** The topic on which a session gets something. */
export interface Route {
  topic: Buffer
  qos: 0 | 1
  subscriptionIds: readonly number[] | undefined
  retainAsPublished: boolean
}

/** A cursor, as far as it is about where its entries go. */
interface Routed {
  readonly conversation: ConversationId
  route: Route | undefined
  commandRoute: Route | undefined
}

/** Compact form in the session's record: filter, QoS, identifier, Retain As Published. */
export type StoredFilter = [filter: string, qos: 0 | 1, id?: number | null, rap?: 1]

export class Filters {
  readonly #app: AppId
  readonly #member: Member
  readonly #all: Map<string, Filter>
  /** Built when it is asked for. */
  #tree: FilterTree<Filter> | undefined
  readonly #inbox: string | undefined
  #inboxRoute: Route | undefined | null = null
  #takesRetained: boolean | undefined

  constructor(app: AppId, member: Member, stored: readonly StoredFilter[] = []) {
    this.#app = app
    this.#member = member
    this.#inbox = isDevice(member) ? undefined : topic('inbox', app, member)
    this.#all = new Map(
      stored.map(([filter, qos, id, rap]) => [filter, { qos, ...(id ? { id } : {}), ...(rap && { rap: true }) }]),
    )
  }

  get size(): number {
    return this.#all.size
  }
  /** Whether it is there, with these options where any are given. */
  has(filter: string, options?: Filter): boolean {
    const there = this.#all.get(filter)
    if (!there || !options) return there !== undefined
    return there.qos === options.qos && there.id === options.id && there.rap === options.rap
  }
  set(filter: string, options: Filter): void {
    this.#all.set(filter, options)
    this.#forget()
  }
  delete(filter: string): boolean {
    this.#forget()
    return this.#all.delete(filter)
  }
  stored(): StoredFilter[] {
    return [...this.#all].map(
      ([filter, { qos, id, rap }]) =>
        (id || rap ? [filter, qos, id ?? null, ...(rap ? [1 as const] : [])] : [filter, qos]) as StoredFilter,
    )
  }
  #forget(): void {
    this.#tree = undefined
    this.#inboxRoute = null
    this.#takesRetained = undefined
  }

  /** Whether any of them takes entries of a conversation. */
  takes(conversation: ConversationId): boolean {
    return (this.#route(conversation) ?? this.#commandRoute(conversation)) !== undefined
  }
  /** Has a cursor's entries go where they are taken now. */
  direct(cursor: Routed): void {
    cursor.route = this.#route(cursor.conversation)
    cursor.commandRoute = this.#commandRoute(cursor.conversation)
  }

  /** Where entries of a conversation go: to the inbox if any filter takes that, else to the conversation's own topic. */
  #route(conversation: ConversationId): Route | undefined {
    if (this.#inboxRoute === null) this.#inboxRoute = this.#inbox === undefined ? undefined : this.of(this.#inbox)
    if (this.#inboxRoute) return this.#inboxRoute
    const kind = kindOf(conversation)
    const subject = partsOf(conversation)[0] as string
    if (kind === 'group') return this.of(topic('groupMessage', this.#app, subject))
    return kind === 'device' ? this.of(topic('deviceMessage', this.#app, subject)) : undefined
  }

  /** Where commands go, for the device itself. */
  #commandRoute(conversation: ConversationId): Route | undefined {
    return conversation === this.#member
      ? this.of(topic('command', this.#app, partsOf(conversation)[0] as string))
      : undefined
  }

  /** The highest granted QoS and all identifiers of the filters that take a topic; nothing where none does. */
  of(name: string): Route | undefined {
    let qos: 0 | 1 | undefined
    let ids: number[] | undefined
    let retainAsPublished = false
    this.#tree ??= new FilterTree(this.#all)
    for (const granted of this.#tree.of(name)) {
      qos = qos === 1 ? 1 : granted.qos
      if (granted.id !== undefined) ids = [...(ids ?? []), granted.id]
      if (granted.rap) retainAsPublished = true
    }
    return qos === undefined ? undefined : { topic: Buffer.from(name), qos, subscriptionIds: ids, retainAsPublished }
  }

  /** Whether any filter could take a retained value. */
  get takesRetained(): boolean {
    this.#takesRetained ??= [...this.#all.keys()].some(filter => takesRetained(filter, this.#app))
    return this.#takesRetained
  }
}

export const isDevice = (member: Member): member is `d:${string}` => member.startsWith('d:')

export function takesRetained(filter: string, app: AppId): boolean {
  if (!hasWildcard(filter)) return filter.endsWith('/last') || filter.endsWith('/presence')
  return rowsTaken(filter, app).some(row => TOPICS[row].life === 'retained')
}
