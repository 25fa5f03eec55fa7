/** What the clients of a crash run did and saw, written down as it happens; and what they wait for. */
import { HistoryFile } from '../checker/file.ts'
import type { Operation } from '../checker/history.ts'
import { type EntryJson, type Person, rest } from '../support/person.ts'

const PAGE = 500

export class Recorder {
  readonly path: string
  readonly #file: HistoryFile
  acknowledged = 0
  received = 0
  /** What must not happen and is no operation. */
  readonly problems: string[] = []
  /** By session and conversation: the highest seq that came. */
  readonly #tails = new Map<string, Map<string, number>>()
  #connections = 0
  #waiting: { done: () => boolean; resolve: () => void }[] = []

  constructor(path: string) {
    this.path = path
    this.#file = new HistoryFile(path)
  }

  now = () => Math.round(performance.now() * 1000) / 1000
  connection = (session: string) => `${session}#${++this.#connections}`

  add(operation: Operation): void {
    this.#file.add(operation)
  }
  close(): void {
    this.#file.close()
  }

  acked(text: string): void {
    this.acknowledged++
    this.add({ do: 'acknowledged', at: this.now(), text })
    this.#look()
  }

  /** A PUBLISH on the inbox. */
  came(connection: string, session: string, user: string, payload: string, dup: boolean): void {
    const { kind, conversation, seq, from, to, text } = JSON.parse(payload) as EntryJson & { to?: number }
    const common = { do: 'received', at: this.now(), connection, session, user, conversation, kind, dup } as const
    const last = to ?? seq
    this.add({
      ...common,
      seq: last,
      ...(to !== undefined && { from: Number(from) }),
      ...(text !== undefined && { text }),
    })
    this.received++
    const tails = this.#tails.get(session)
    if (tails) tails.set(conversation, Math.max(last, tails.get(conversation) ?? 0))
    else this.#tails.set(session, new Map([[conversation, last]]))
    this.#look()
  }

  has(session: string, conversation: string, seq: number): boolean {
    return (this.#tails.get(session)?.get(conversation) ?? 0) >= seq
  }

  /** Resolves when it is so; looked at with every operation that may make it so. */
  until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve()
    return new Promise(resolve => this.#waiting.push({ done, resolve }))
  }

  #look(): void {
    if (this.#waiting.length === 0) return
    const over = this.#waiting.filter(({ done }) => done())
    if (over.length === 0) return
    this.#waiting = this.#waiting.filter(one => !over.includes(one))
    for (const { resolve } of over) resolve()
  }

  /** Writes down a conversation's log, read page by page. Resolves to its last seq. */
  async log(person: Person, conversation: string): Promise<number> {
    for (let after = 0; ; ) {
      const path = `/v1/conversations/${conversation}/messages?after=${after}&limit=${PAGE}`
      const { body } = await rest(person.server, 'GET', path, undefined, person.key)
      const { items } = body as { items: EntryJson[] }
      if (items.length === 0) return after
      this.add({ do: 'log', at: this.now(), conversation, entries: items.map(entryOf) })
      after = items.at(-1)?.seq ?? after
    }
  }
}

const COMES = new Set(['created', 'added', 'joined'])
const GOES = new Set(['left', 'removed', 'dismissed'])

function entryOf({ seq, n, kind, from, sentAt, text, clientMessageId, action, users }: EntryJson) {
  return {
    ...{ seq, n, kind, from, sentAt },
    ...(text !== undefined && { text }),
    ...(clientMessageId !== undefined && { clientMessageId: clientMessageId as string }),
    ...(COMES.has(action as string) && { added: users as string[] }),
    ...(GOES.has(action as string) && { removed: users as string[] }),
  }
}
