/**
 * Whoever works over REST: changes members, reads history, sends and sends again. Also who removes old entries; and reads
 * the logs in the end, with what was removed.
 */
import type { Core } from '../../core/features.ts'
import type { ConversationKey, Storage } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { Seq } from '../../protocol/ids.ts'
import type { LogEntry, Operation } from '../checker/history.ts'
import type { Chance } from '../support/proof.ts'
import { callerOf, GROUP, PEOPLE, type Person } from './image.ts'

interface World {
  now(): number
  tell(operation: Operation): void
}
interface Draft {
  from: Person
  conversation: string
  text: string
  sent: boolean
}

const CONVERSATIONS = [`g:${GROUP}`, 'u:alice:bob', 'u:bob:carol', 'u:alice:dave', ...PEOPLE.map(user => `n:${user}`)]
const PAGE = 5

export class Office {
  core: Core | undefined
  storage: Storage | undefined
  readonly #world: World
  /** What was, or may have been, removed of each conversation; and up to where it surely was. */
  readonly #removed = new Map<string, LogEntry[]>()
  readonly #firsts = new Map<string, number>()
  /** Not answered yet, or without an outcome; sent again until it has one. */
  #draft: Draft | undefined
  #count = 0
  /** Calls under way; of a server that died none comes back. */
  #calls = 0
  #epoch = 0

  constructor(world: World) {
    this.#world = world
  }

  get idle(): boolean {
    return this.#calls === 0 && this.#draft === undefined
  }

  crashed(): void {
    this.core = undefined
    this.storage = undefined
    this.#calls = 0
    this.#epoch++
  }

  async #call<T>(work: (core: Core) => Promise<T>): Promise<T | Fault | undefined> {
    const { core } = this
    if (!core) return undefined
    const epoch = this.#epoch
    this.#calls++
    try {
      return await work(core)
    } catch (thrown) {
      return Fault.from(thrown)
    } finally {
      if (epoch === this.#epoch) this.#calls--
    }
  }

  async changeMembers(chance: Chance): Promise<void> {
    const who = chance.of(['carol', 'dave'] as const)
    const joins = chance.happens(0.5)
    const leaves = chance.happens(0.3)
    const answer = await this.#call(async core => {
      if (joins) await core.run('addMembers', callerOf('alice'), { group: GROUP, members: [who] })
      else await core.run('removeMember', callerOf(leaves ? who : 'alice'), { group: GROUP, user: who })
      return true
    })
    if (answer !== true) return
    const [added, removed] = joins ? [[who], []] : [[], [who]]
    this.#world.tell({ do: 'members', at: this.#world.now(), conversation: `g:${GROUP}`, added, removed })
  }

  async read(chance: Chance): Promise<void> {
    const conversation = chance.of(CONVERSATIONS.slice(0, 2))
    const since = this.#world.now()
    const before = chance.happens(0.5) ? 1 + chance.below(20) : undefined
    const answer = await this.#call(core =>
      core.run('listMessages', callerOf('alice'), { conversation, limit: PAGE, ...(before && { before }) }),
    )
    if (!answer || answer instanceof Fault) return
    const { items } = JSON.parse(JSON.stringify(answer)) as { items: { kind: string; seq: number; text?: string }[] }
    this.#world.tell({
      do: 'read',
      at: this.#world.now(),
      since,
      user: 'alice',
      conversation,
      items: items
        .filter(({ kind }) => kind !== 'gap')
        .map(({ seq, text }) => ({ seq, ...(text !== undefined && { text }) })),
      newest: before === undefined,
    })
  }

  /** Sends a message, or the one before again that has no outcome yet. */
  async post(chance: Chance): Promise<void> {
    this.#draft ??= {
      from: chance.of(['alice', 'bob'] as const),
      conversation: chance.of([`g:${GROUP}`, 'u:alice:bob']),
      text: `office-${++this.#count}`,
      sent: false,
    }
    const draft = this.#draft
    const { from, conversation, text } = draft
    const at = this.#world.now()
    if (!this.core) return
    this.#world.tell({
      do: 'sent',
      at,
      connection: `office-${this.#count}`,
      from,
      conversation,
      text,
      clientMessageId: text,
      ...(draft.sent && { again: true }),
    })
    draft.sent = true
    const answer = await this.#call(core =>
      core.run('sendMessage', callerOf(from), { conversation, text, clientMessageId: text }),
    )
    if (!answer || this.#draft !== draft) return
    if (!(answer instanceof Fault)) {
      this.#draft = undefined
      const { seq } = (answer as { entry?: { seq: number }; seq?: number }).entry ?? (answer as { seq?: number })
      this.#world.tell({ do: 'acknowledged', at: this.#world.now(), text, ...(seq !== undefined && { seq }) })
    } else if (answer.row.final) {
      this.#draft = undefined
      this.#world.tell({ do: 'refused', at: this.#world.now(), text, code: answer.code })
    }
  }

  /** Sends again what has no outcome, once nothing is under way. */
  again(chance: Chance): void {
    if (this.#draft && this.#calls === 0) void this.post(chance)
  }

  /** Removes what lies before a random entry of a conversation. */
  async retain(chance: Chance): Promise<void> {
    const conversation = chance.of(CONVERSATIONS.slice(0, chance.of([2, 2, CONVERSATIONS.length])))
    // Often all but the last one.
    const share = chance.happens(0.5) ? 0.999 : chance.next()
    const { storage } = this
    if (!storage) return
    const { log } = storage
    const key = `im/${conversation}` as ConversationKey
    await this.#call(async () => {
      const [{ first, seq } = { first: 1, seq: 0 }] = await log.tails([key])
      const below = (first + Math.floor((seq - first + 1) * share)) as Seq
      const entries = await log.read(key, { before: below, limit: 1_000 })
      const known = this.#removed.get(conversation) ?? []
      const last = known.at(-1)?.seq ?? 0
      const fresh = entries.filter(entry => entry.seq > last).map(({ entry }) => logEntry(entry))
      this.#removed.set(conversation, [...known, ...fresh])
      await log.trim(key, below)
      this.#firsts.set(conversation, Math.max(this.#firsts.get(conversation) ?? 1, below))
    })
  }

  async logs({ log }: Storage, at: number): Promise<void> {
    for (const conversation of CONVERSATIONS) {
      const key = `im/${conversation}` as ConversationKey
      const [{ first } = { first: 1 }] = await log.tails([key])
      if (first < (this.#firsts.get(conversation) ?? 1)) throw new Error(`${conversation} begins at ${first} again`)
      const entries = (this.#removed.get(conversation) ?? []).filter(({ seq }) => seq < first)
      for (;;) {
        const after = (entries.at(-1)?.seq ?? 0) as Seq
        const page = await log.read(key, { after, limit: 1_000 })
        for (const { entry } of page) entries.push(logEntry(entry))
        // A log that does not get on is judged by what it gave.
        if ((entries.at(-1)?.seq ?? 0) <= after) break
      }
      if (entries.length > 0) this.#world.tell({ do: 'log', at, conversation, entries, first })
    }
  }
}

const JOIN = new Set(['created', 'added', 'joined'])
const LEAVE = new Set(['left', 'removed', 'dismissed'])

function logEntry(entry: Record<string, unknown>): LogEntry {
  const { seq, n, kind, from, sentAt, text, clientMessageId, action, users } = entry as unknown as LogEntry & {
    action?: string
    users?: string[]
  }
  return {
    seq,
    n,
    kind,
    from,
    sentAt,
    ...(text !== undefined && { text }),
    ...(clientMessageId !== undefined && { clientMessageId }),
    ...(action && users && JOIN.has(action) && { added: users }),
    ...(action && users && LEAVE.has(action) && { removed: users }),
  }
}
