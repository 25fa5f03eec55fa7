/**
 * Reads everything in a keyspace, a page after the other in the order of its tokens. What servers have left undecided or
 * half done is decided and done first, so a keyspace that no server writes to is always read the same. Where servers go on
 * writing, each record and each conversation is as it was when it was come to: there is no moment that all are of. Records
 * are read before conversations, so that no cursor or mark is ahead of its log; a conversation that came after the beginning
 * is left out, as who is in it may have been passed.
 */
import type { ConversationKey, Records } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { Sender } from '../../protocol/ids.ts'
import type { Archive, ConversationItem, EntryItem, Item, RecordItem, RemainsItem, RepeatItem } from '../archive.ts'
import { gathered } from '../gathered.ts'
import { homeOf, type Place } from './cells.ts'
import type { End } from './ends.ts'
import { ENTRY, entryOf, remainsOf, repeatOf } from './entries.ts'
import type { Shared } from './log.ts'
import { chunks } from './ranked.ts'
import type { Row } from './ring.ts'

const PARTITIONS = 1_000
const ENTRIES = 200
const ROWS = 500
/** Conversations that are read beside each other, as far as they have no more entries than a page. */
const BESIDE = 32
const REPEAT = 'name, target, fingerprint, kind, sender, n, sent_at, entry'

interface Log {
  end: End
  item: ConversationItem
}

export class CassandraArchive implements Archive {
  readonly #log: Shared
  readonly #records: Records

  constructor(log: Shared, records: Records) {
    this.#log = log
    this.#records = records
  }

  async *items(): AsyncGenerator<Item[]> {
    const there = await this.#settleLogs()
    await this.#settleRecords()
    yield* this.#rows()
    yield* gathered(this.#logs(there))
  }

  // ---- conversations ----

  async *#conversations(): AsyncGenerator<ConversationKey[]> {
    // Every conversation has its first bucket, also when all of it was trimmed.
    for await (const page of this.#log.ring.pages('SELECT DISTINCT conversation, bucket FROM log', [], PARTITIONS))
      yield page.flatMap(row => (row.bucket === 0 ? [row.conversation as ConversationKey] : []))
  }

  /** Makes the record changes of every entry there is. What they are of. */
  async #settleLogs(): Promise<ReadonlySet<ConversationKey>> {
    const { ends, ring } = this.#log
    const there = new Set<ConversationKey>()
    for await (const page of this.#conversations())
      await ring.each(page, async conversation => {
        const end = await ends.find(conversation, true)
        if (end.seq === 0) return
        await this.#log.settle(conversation, end)
        there.add(conversation)
      })
    return there
  }

  async *#logs(there: ReadonlySet<ConversationKey>): AsyncGenerator<Item[]> {
    const { ring } = this.#log
    for await (const page of this.#conversations())
      for (const some of chunks(
        page.filter(conversation => there.has(conversation)),
        BESIDE,
      )) {
        const logs = await ring.each(some, one => this.#ends(one))
        const short = await ring.each(logs, async log => (isShort(log) ? all(this.#ofLog(log)) : undefined))
        for (const [nth, log] of logs.entries()) {
          const items = short[nth]
          if (items) yield items
          else yield* this.#ofLog(log)
        }
      }
  }

  async #ends(conversation: ConversationKey): Promise<Log> {
    const { ends, ring } = this.#log
    const end = await ends.find(conversation, true)
    await this.#log.settle(conversation, end)
    const [head] = await ring.read('SELECT forgotten FROM heads WHERE conversation = ?', [conversation])
    const { seq, n, sentAt, first } = end
    const forgotten = Number(head?.forgotten ?? 0)
    return { end, item: { kind: 'conversation', conversation, seq, n, sentAt, first, forgotten } }
  }

  async *#ofLog(log: Log): AsyncGenerator<Item[]> {
    yield [log.item]
    yield* this.#remains(log)
    yield* this.#entries(log)
    yield* this.#repeats(log)
  }

  async *#entries({ end, item: { conversation } }: Log): AsyncGenerator<EntryItem[]> {
    const { ring, ends } = this.#log
    const query = `SELECT ${ENTRY} FROM log WHERE conversation = ? AND bucket = ? AND seq >= ? AND seq <= ?`
    let next: number = end.first
    for (let bucket = ends.bucketOf(end.first); bucket <= ends.bucketOf(end.seq); bucket++) {
      const span = [Math.max(end.first, ends.firstOf(bucket)), Math.min(end.seq, ends.lastOf(bucket))]
      for await (const rows of ring.pages(query, [conversation, bucket, ...span], ENTRIES)) {
        const items: EntryItem[] = []
        for (const row of rows) {
          if (Number(row.seq) !== next) throw missing(conversation, next)
          next++
          items.push(await this.#entry(conversation, row))
        }
        yield items
      }
    }
    if (next !== end.seq + 1) throw missing(conversation, next)
  }

  /** Behind whoever is taking it back. */
  async #entry(conversation: ConversationKey, found: Row): Promise<EntryItem> {
    let row: Row | undefined = found
    for (let attempt = 1; typeof row.lock === 'string'; attempt++) {
      if (attempt > 1) await this.#log.writer.again(attempt)
      row = await this.#log.row(conversation, entryOf(found).entry.seq)
      if (!row) throw missing(conversation, Number(found.seq))
    }
    const { entry, retracted } = entryOf(row)
    const { seq, n, kind: entryKind, from, sentAt } = entry
    return { kind: 'entry', conversation, seq, n, entryKind, from, sentAt, retracted, json: row.entry as string }
  }

  /** What stays of trimmed entries lies beside what finds their repeats. */
  async *#remains(log: Log): AsyncGenerator<RemainsItem[]> {
    const { end, item } = log
    const last = end.first > 1 ? this.#log.ends.bucketOf(end.first - 1) : -1
    for (let bucket = 0; bucket <= last; bucket++) {
      const items: RemainsItem[] = []
      for await (const rows of this.#marks(log, bucket))
        for (const row of rows)
          if (Number(row.target) < end.first) items.push(await this.#remainsOf(item.conversation, row))
      yield items.sort((a, b) => a.seq - b.seq)
    }
  }

  async #remainsOf(conversation: ConversationKey, row: Row): Promise<RemainsItem> {
    const { seq } = repeatOf(row)
    // Trimming was not done with the bucket.
    const found = row.entry === null ? await this.#log.row(conversation, seq) : { ...row, seq, retracted: null }
    if (!found) throw missing(conversation, seq)
    const { entry } = entryOf(found)
    const { n, kind: entryKind, from, sentAt } = entry
    const json = row.entry === null ? remainsOf(entry) : row.entry
    if (typeof json !== 'string') throw missing(conversation, seq)
    return { kind: 'remains', conversation, seq, n, entryKind, from, sentAt, json }
  }

  async *#repeats(log: Log): AsyncGenerator<RepeatItem[]> {
    const { conversation } = log.item
    for (let bucket = 0; bucket <= this.#log.ends.bucketOf(log.end.seq); bucket++)
      for await (const rows of this.#marks(log, bucket))
        yield rows.map(row => {
          const { seq, fingerprint } = repeatOf(row)
          const name = (row.name as string).slice(2)
          const at = name.indexOf(' ')
          const [from, clientMessageId] = [name.slice(0, at) as Sender, name.slice(at + 1)]
          return { kind: 'repeat', conversation, from, clientMessageId, seq, ...fingerprint }
        })
  }

  async *#marks({ end, item: { conversation } }: Log, bucket: number): AsyncGenerator<Row[]> {
    const query = `SELECT ${REPEAT} FROM log WHERE conversation = ? AND bucket = ? AND seq = 0 AND name >= 'c:' AND name < 'c;'`
    for await (const rows of this.#log.ring.pages(query, [conversation, bucket], ROWS))
      yield rows.filter(({ target }) => target !== null && Number(target) <= end.seq)
  }

  // ---- records ----

  /** What one row has left to do is a change of another, which may have been passed. */
  async #settleRecords(): Promise<void> {
    const query = 'SELECT home, tbl, partition, key, stamp, lock, redo, applied FROM records'
    for await (const rows of this.#log.ring.pages(query, [], ROWS))
      for (const row of rows) if (isOpen(row)) await this.#settled(row)
  }

  async *#rows(): AsyncGenerator<RecordItem[]> {
    const query = 'SELECT home, tbl, partition, key, row, version, stamp, lock, redo, applied FROM records'
    for await (const rows of this.#log.ring.pages(query, [], ROWS)) {
      const items: RecordItem[] = []
      for (const row of rows) {
        const { tbl, partition, key } = row as Record<string, string>
        const at = { kind: 'record', table: tbl as string, partition: partition as string, key: key as string } as const
        const now = isOpen(row) ? await this.#settled(row) : { json: row.row, version: Number(row.version) }
        if (typeof now?.json === 'string') items.push({ ...at, version: now.version, json: now.json })
      }
      yield items
    }
  }

  /** As it was decided, with all that belongs to its last write done. */
  async #settled(row: Row): Promise<{ json: string; version: number } | undefined> {
    const { home, tbl, partition, key } = row as { home: string; tbl: string; partition: string; key: string }
    const spread = home === homeOf({ spread: true }, { partition, key })
    const table = { name: tbl, ...(spread && { spread }) }
    const place: Place = { home, table, partition, key }
    for (let attempt = 1; !(await this.#log.writer.read([place])); attempt++) await this.#log.writer.again(attempt)
    const found = await this.#records.get(table, partition, key)
    return found && { json: JSON.stringify(found.row), version: found.version }
  }
}

const isOpen = ({ lock, redo, applied, stamp }: Row) =>
  typeof lock === 'string' || (typeof redo === 'string' && Number(applied ?? 0) < Number(stamp))

const isShort = ({ end: { seq, first } }: Log) => seq < ENTRIES && seq - first < ENTRIES

async function all(source: AsyncIterable<Item[]>): Promise<Item[]> {
  const items: Item[] = []
  for await (const some of source) items.push(...some)
  return items
}

const missing = (conversation: ConversationKey, seq: number) =>
  new Fault(
    'log-unavailable',
    {},
    {
      cause: new Error(
        `Entry ${seq} of ${conversation} is missing, or retention has just removed it: run this again, and if it is still missing, \`nodetool repair\`.`,
      ),
    },
  )
