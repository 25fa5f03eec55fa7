/** Reads everything in a database, in the order of its keys: from four places of it at once, one for each kind of row. */
import type { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey } from '../../core/ports.ts'
import type { Sender, Seq } from '../../protocol/ids.ts'
import type { EntryItem, Item, RecordItem, RemainsItem, RepeatItem } from '../archive.ts'
import { gathered } from '../gathered.ts'
import { behind } from '../shape.ts'
import { readRecord } from './changes.ts'
import type { Level } from './engine.ts'
import { isRetracted, readDedup, readEntry, readTail, remains } from './entries.ts'
import { damaged, entryKey, HEAD, seqOf } from './rows.ts'

const AT_ONCE = 1_000
const READ_AHEAD_BYTES = 1024 * 1024
const RECORD_JSON_AT = HEAD + 6

type Row = [key: string, value: Buffer]
type Snapshot = ReturnType<Level['snapshot']>

/** @throws Fault `log-unavailable`: a row is damaged or missing. */
export async function* itemsOf(level: Level): AsyncGenerator<Item[]> {
  const snapshot = level.snapshot()
  const of = (letter: string) => new Rows(level, `${letter}\0`, snapshot)
  const rows = { ends: of('t'), entries: of('e'), repeats: of('d'), records: of('r') }
  try {
    yield* gathered(logs(rows.ends, rows.entries, rows.repeats))
    for (let found = await rows.records.next(); found.length > 0; found = await rows.records.next())
      yield found.map(recordOf)
  } finally {
    for (const one of Object.values(rows)) await one.close()
    await snapshot.close()
  }
}

async function* logs(ends: Rows, entries: Rows, repeats: Rows): AsyncGenerator<Item[]> {
  for (let found = await ends.next(); found.length > 0; found = await ends.next())
    for (const [key, value] of found) {
      const conversation = key.slice(2) as ConversationKey
      const end = readTail(key, value)
      yield [{ kind: 'conversation', conversation, ...end }]
      let next: number = end.first
      const under = `e\0${conversation}\0`
      for (let rows = await entries.next(under); rows.length > 0; rows = await entries.next(under)) {
        const [gone, there] = parted(rows, end.first)
        yield gone.flatMap(row => remainsOf(conversation, end.forgotten, row))
        yield there.map(row => entryOf(conversation, next++, row))
      }
      if (next !== end.seq + 1) throw damaged(entryKey(conversation, next), 'it is missing')
      const marks = `d\0${conversation}\0`
      for (let rows = await repeats.next(marks); rows.length > 0; rows = await repeats.next(marks))
        yield rows.map(row => repeatOf(conversation, row))
    }
  for (const [key] of [...(await entries.next()), ...(await repeats.next())])
    throw damaged(key, 'its conversation has no end')
}

/** Rows of what is trimmed, and those of what is not. */
function parted(rows: Row[], first: Seq): [gone: Row[], there: Row[]] {
  const at = rows.findIndex(([key]) => seqOf(key) >= first)
  return at === -1 ? [rows, []] : [rows.slice(0, at), rows.slice(at)]
}

function entryOf(conversation: ConversationKey, expected: number, [key, value]: Row): EntryItem {
  const wanted = entryKey(conversation, expected)
  if (key !== wanted) throw damaged(wanted, 'it is missing')
  const stored = readEntry(conversation, expected as Seq, value)
  return { kind: 'entry', ...factsOf(conversation, stored), retracted: isRetracted(value) }
}

/** Also where the row is still to go. */
function remainsOf(conversation: ConversationKey, forgotten: number, [key, value]: Row): RemainsItem | [] {
  const seq = seqOf(key)
  readEntry(conversation, seq, value)
  const left = seq > forgotten ? remains(conversation, seq, value) : undefined
  return left ? { kind: 'remains', ...factsOf(conversation, readEntry(conversation, seq, left)) } : []
}

function factsOf(conversation: ConversationKey, { seq, n, kind: entryKind, from, sentAt, bytes }: StoredEntry) {
  const json = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
  return { conversation, seq, n, entryKind, from, sentAt, json }
}

function repeatOf(conversation: ConversationKey, [key, value]: Row): RepeatItem {
  const [, , from = '', clientMessageId = ''] = key.split('\0')
  const { seq, fingerprint } = readDedup(key, value)
  return { kind: 'repeat', conversation, from: from as Sender, clientMessageId, seq, ...fingerprint }
}

function recordOf([key, value]: Row): RecordItem {
  const [, table = '', partition = '', at = ''] = key.split('\0')
  const { version } = readRecord(key, value)
  return { kind: 'record', table, partition, key: at, version, json: value.toString('utf8', RECORD_JSON_AT) }
}

class Rows {
  readonly #iterator
  #rows: Row[] = []
  #at = 0

  constructor(level: Level, first: string, snapshot: Snapshot) {
    const range = { gte: first, lt: behind(first), snapshot, highWaterMarkBytes: READ_AHEAD_BYTES, fillCache: false }
    this.#iterator = level.iterator(range as { gte: string; lt: string; snapshot: Snapshot })
  }

  /** The next ones whose keys begin so, as many as are at hand; none: no more of them come next. */
  async next(first = ''): Promise<Row[]> {
    if (this.#at === this.#rows.length) {
      this.#rows = await this.#iterator.nextv(AT_ONCE)
      this.#at = 0
    }
    const from = this.#at
    while (this.#rows[this.#at]?.[0].startsWith(first)) this.#at++
    return this.#rows.slice(from, this.#at)
  }

  close(): Promise<void> {
    return this.#iterator.close()
  }
}
