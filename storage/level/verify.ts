/** Every row of a database: whole, and in agreement with the others that speak of the same thing. */
import type { ConversationKey, Table } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { Sender, Seq } from '../../protocol/ids.ts'
import { indexKeys, readRecord, recordKey } from './changes.ts'
import type { Level } from './engine.ts'
import { NOTHING, readDedup, readEntry, readTail, type TailRow } from './entries.ts'
import { dedupKey, entryKey, tailKey, whole } from './rows.ts'

export interface RowFlaw {
  key: string
  /** What is wrong with it, as the end of a sentence that begins with what the row is. */
  says: string
}
export interface Verified {
  rows: number
  conversations: number
  entries: number
  records: number
  /** Time of the newest entry, in epoch milliseconds. */
  newest: number
}

const AT_ONCE = 1_000
const READ_AHEAD_BYTES = 1024 * 1024

/** A row that must be there for another one's sake; what it says in return, if it does not fit. */
interface Need {
  of: string
  key: string
  fits: (value: Buffer | undefined) => string | undefined
}
interface Log {
  conversation: ConversationKey
  tail: Readonly<TailRow> | undefined
  seq: number
  n: number
  sentAt: number
}

export class RowCheck {
  readonly #level: Level
  readonly #tables: ReadonlyMap<string, Table<never>>
  readonly #tell: (flaw: RowFlaw) => void
  readonly #count: Verified = { rows: 0, conversations: 0, entries: 0, records: 0, newest: 0 }
  #needs: Need[] = []
  #log: Log | undefined

  /** `tables`: those that have indexes. */
  constructor(level: Level, tables: readonly Table<never>[], tell: (flaw: RowFlaw) => void) {
    this.#level = level
    this.#tables = new Map(tables.map(table => [table.name, table]))
    this.#tell = tell
  }

  /** `told` hears how many rows are looked at, now and then. */
  async run(told: (rows: number) => void = () => {}): Promise<Verified> {
    const iterator = this.#level.iterator({ highWaterMarkBytes: READ_AHEAD_BYTES } as object)
    try {
      for (let rows = await iterator.nextv(AT_ONCE); rows.length > 0; rows = await iterator.nextv(AT_ONCE)) {
        for (const [key, value] of rows) this.#guarded(key, () => this.#row(key, value))
        await this.#meet()
        told(this.#count.rows)
      }
    } finally {
      await iterator.close()
    }
    this.#endOfLog()
    return this.#count
  }

  #row(key: string, value: Buffer): void {
    this.#count.rows++
    const [letter = '', ...parts] = key.split('\0')
    const kinds: Record<string, (parts: string[], value: Buffer, key: string) => void> = {
      e: ([conversation = '', at = '']) => this.#entry(conversation as ConversationKey, Number(at.slice(1)), value),
      t: ([conversation = '']) => this.#tail(conversation as ConversationKey, value),
      d: ([conversation = '', from = '', id = '']) => this.#dedup(conversation as ConversationKey, from, id, value),
      r: ([table = '', partition = '', at = '']) => this.#record(table, { partition, key: at }, value),
      i: ([table = '', , , , partition = '', at = '']) => this.#index(key, table, { partition, key: at }, value),
    }
    if (letter !== 'e') this.#endOfLog()
    if (Object.hasOwn(kinds, letter)) kinds[letter]?.(parts, value, key)
    else if (['b', 'm', 'p', 'o'].includes(letter)) whole(key, value)
    else this.#tell({ key, says: 'is of no kind that is known' })
  }

  // ---- logs ----

  #entry(conversation: ConversationKey, seq: number, value: Buffer): void {
    if (this.#log?.conversation !== conversation) this.#beginLog(conversation)
    const log = this.#log as Log
    const key = entryKey(conversation, seq)
    const before = { ...log }
    log.seq = seq
    const first = log.tail?.first ?? 1
    // What is left of a removed entry, or is about to go.
    if (seq < first) {
      readEntry(conversation, seq as Seq, value)
      log.seq = before.seq
      return
    }
    this.#count.entries++
    const due = Math.max(before.seq + 1, first)
    if (seq !== due)
      this.#tell({ key: entryKey(conversation, before.seq + 1), says: `is missing, as are all before entry ${seq}` })
    const entry = readEntry(conversation, seq as Seq, value)
    log.n = entry.n
    log.sentAt = entry.sentAt
    this.#count.newest = Math.max(this.#count.newest, entry.sentAt)
    const { entry: json } = entry
    const says = [json.kind, json.seq, json.n, json.from, json.sentAt].join()
    if (says !== [entry.kind, seq, entry.n, entry.from, entry.sentAt].join())
      this.#tell({ key, says: 'says something else than its head' })
    if (seq === before.seq + 1 && entry.n !== before.n + (entry.kind === 'message' ? 1 : 0))
      this.#tell({ key, says: 'counts the messages wrongly' })
    if (entry.sentAt < before.sentAt) this.#tell({ key, says: 'is older than the one before' })
    if (json.clientMessageId === undefined || seq <= (log.tail?.forgotten ?? 0)) return
    const mark = dedupKey(conversation, entry.from, json.clientMessageId)
    this.#need(mark, mark, found =>
      found && readDedup(mark, found).seq >= seq ? undefined : `does not find entry ${seq}`,
    )
  }

  #beginLog(conversation: ConversationKey): void {
    this.#endOfLog()
    this.#count.conversations++
    this.#log = { conversation, tail: undefined, seq: 0, n: 0, sentAt: 0 }
    const key = tailKey(conversation)
    this.#guarded(key, () => {
      const value = this.#level.getSync(key)
      if (this.#log && value) this.#log.tail = readTail(key, value)
    })
  }

  #endOfLog(): void {
    const log = this.#log
    this.#log = undefined
    if (!log) return
    const tail = log.tail ?? NOTHING
    if (tail.seq !== log.seq || tail.n !== log.n || tail.sentAt !== log.sentAt)
      this.#tell({ key: tailKey(log.conversation), says: `is recorded at entry ${tail.seq}, and lies at ${log.seq}` })
  }

  #tail(conversation: ConversationKey, value: Buffer): void {
    const key = tailKey(conversation)
    const { seq } = readTail(key, value)
    this.#need(key, entryKey(conversation, seq), entry => (entry ? undefined : `names entry ${seq}, which is missing`))
  }

  #dedup(conversation: ConversationKey, from: string, id: string, value: Buffer): void {
    const key = dedupKey(conversation, from as Sender, id)
    const { seq } = readDedup(key, value)
    this.#need(key, entryKey(conversation, seq), found => {
      if (!found) return `names entry ${seq}, which is missing`
      // Of a removed entry, its head and its clientMessageId are what is left.
      const stored = readEntry(conversation, seq, found)
      return stored.from === from && stored.entry.clientMessageId === id
        ? undefined
        : `names entry ${seq}, which is another`
    })
  }

  // ---- records ----

  #record(name: string, at: { partition: string; key: string }, value: Buffer): void {
    this.#count.records++
    const key = recordKey({ name }, at)
    const { row } = readRecord(key, value)
    const table = this.#tables.get(name)
    for (const place of table ? indexKeys(table, at, row) : [])
      this.#need(key, place, found => (found ? undefined : 'is missing from an index'))
  }

  #index(key: string, name: string, at: { partition: string; key: string }, value: Buffer): void {
    whole(key, value)
    const table = this.#tables.get(name)
    const record = recordKey({ name }, at)
    this.#need(key, record, found => {
      if (!found) return 'names a record that is missing'
      if (!table) return 'is of a table that has none'
      return indexKeys(table, at, readRecord(record, found).row).includes(key)
        ? undefined
        : 'names a record that is elsewhere'
    })
  }

  // ---- helpers ----

  #need(of: string, key: string, fits: Need['fits']): void {
    this.#needs.push({ of, key, fits })
  }

  async #meet(): Promise<void> {
    const needs = this.#needs
    this.#needs = []
    const values = await this.#level.getMany(needs.map(({ key }) => key))
    needs.forEach(({ of, fits }, nth) => {
      this.#guarded(of, () => {
        const says = fits(values[nth])
        if (says) this.#tell({ key: of, says })
      })
    })
  }

  /** What cannot be read is told, and the others are looked at all the same. */
  #guarded(key: string, look: () => void): void {
    try {
      look()
    } catch (thrown) {
      const cause = thrown instanceof Fault ? thrown.cause : thrown
      this.#tell({ key, says: `cannot be read (${cause instanceof Error ? cause.message : cause})` })
    }
  }
}
