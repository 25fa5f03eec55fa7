/** Reads of the log: ranges over buckets, single entries, ends, positions in time. */
import type { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey, ReadRange, Tail } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { EpochMs, Seq } from '../../protocol/ids.ts'
import { ENTRY, entryOf } from './entries.ts'
import type { Shared } from './log.ts'
import { chunks } from './ranked.ts'

const MAX_ENTRIES = 1_000
/** Entries of one query, where their bytes are bounded. */
const PAGE = 100

/** Single entries of one query, of any size. */
const GET_AT_ONCE = 20

interface Bucket {
  conversation: ConversationKey
  bucket: number
}
interface Span {
  from: number
  to: number
  limit: number
  reverse: boolean
}

export class Reader {
  readonly #shared: Shared

  constructor(shared: Shared) {
    this.#shared = shared
  }

  async read(conversation: ConversationKey, range: ReadRange): Promise<StoredEntry[]> {
    const {
      after = 0,
      before = Number.MAX_SAFE_INTEGER,
      limit,
      maxBytes = Number.POSITIVE_INFINITY,
      reverse = false,
    } = range
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_ENTRIES)
      throw new Fault('malformed', { issues: [{ path: ['limit'], message: 'From 1 to 1,000.' }] })
    const end = await this.#shared.ends.find(conversation)
    let from = Math.max(after + 1, end.first)
    let to = Math.min(before - 1, end.seq)
    if (reverse) from = Math.max(from, to - limit + 1)
    else to = Math.min(to, from + limit - 1)
    const found: StoredEntry[] = []
    let bytes = 0
    while (from <= to) {
      const page = await this.#page(conversation, { from, to, limit: PAGE, reverse })
      for (const entry of page) {
        if (bytes >= maxBytes) return found
        found.push(entry)
        bytes += entry.bytes.length
      }
      if (reverse) to -= page.length
      else from += page.length
    }
    return found
  }

  /** Some of a span, from its beginning, at least one. @throws Fault `log-unavailable`: one is missing. */
  async #page(conversation: ConversationKey, { from, to, limit, reverse }: Span): Promise<StoredEntry[]> {
    const { ends, ring, retractions } = this.#shared
    const bucket = ends.bucketOf(reverse ? to : from)
    const low = Math.max(from, ends.firstOf(bucket))
    const high = Math.min(to, ends.lastOf(bucket))
    const order = reverse ? 'DESC' : 'ASC'
    const query = `SELECT ${ENTRY} FROM log WHERE conversation = ? AND bucket = ? AND seq >= ? AND seq <= ?
      ORDER BY seq ${order}, name ${order} LIMIT ?`
    const rows = await ring.read(query, [conversation, bucket, low, high, limit])
    const entries = (await ring.each(rows, row => retractions.seen(conversation, row))).map(row => entryOf(row).entry)
    entries.forEach((entry, nth) => {
      if (entry.seq !== (reverse ? high - nth : low + nth))
        throw missing(conversation, reverse ? high - nth : low + nth)
    })
    if (entries.length === 0) throw missing(conversation, low)
    return entries
  }

  /** Those of one bucket by one query: a session that comes back asks for all that was in flight. */
  async get(wanted: readonly { conversation: ConversationKey; seq: Seq }[]): Promise<(StoredEntry | undefined)[]> {
    const { ends, ring } = this.#shared
    const buckets = new Map<string, Bucket & { seqs: Set<Seq> }>()
    for (const { conversation, seq } of wanted) {
      const bucket = ends.bucketOf(seq)
      const name = `${bucket} ${conversation}`
      const there = buckets.get(name)
      if (there) there.seqs.add(seq)
      else buckets.set(name, { conversation, bucket, seqs: new Set([seq]) })
    }
    const found = new Map<string, StoredEntry>()
    const queries = [...buckets.values()].flatMap(({ seqs: all, ...bucket }) =>
      chunks([...all], GET_AT_ONCE).map(seqs => ({ ...bucket, seqs })),
    )
    await ring.each(queries, async of => {
      for (const entry of await this.#some(of)) found.set(`${entry.seq} ${of.conversation}`, entry)
    })
    return wanted.map(({ conversation, seq }) => found.get(`${seq} ${conversation}`))
  }

  async #some({ conversation, bucket, seqs }: Bucket & { seqs: Seq[] }): Promise<StoredEntry[]> {
    const { ring, retractions } = this.#shared
    const query = `SELECT ${ENTRY} FROM log WHERE conversation = ? AND bucket = ? AND seq IN ? AND name = ''`
    const rows = await ring.read(query, [conversation, bucket, seqs])
    return (await ring.each(rows, row => retractions.seen(conversation, row))).map(row => entryOf(row).entry)
  }

  tails(conversations: readonly ConversationKey[]): Promise<Tail[]> {
    return this.#shared.ring.each(conversations, async conversation => {
      const end = await this.#shared.ends.find(conversation)
      await this.#shared.settle(conversation, end)
      const { seq, n, sentAt, first } = end
      return { seq, n, sentAt, first }
    })
  }

  async seqAt(conversation: ConversationKey, since: EpochMs): Promise<Seq> {
    const end = await this.#shared.ends.find(conversation)
    if (end.seq === 0 || end.sentAt < since) return (end.seq + 1) as Seq
    let low: number = end.first
    let high: number = end.seq
    while (low < high) {
      const middle = Math.floor((low + high) / 2) as Seq
      const [entry] = await this.get([{ conversation, seq: middle }])
      if (entry && entry.sentAt >= since) high = middle
      else low = middle + 1
    }
    return low as Seq
  }
}

const missing = (conversation: ConversationKey, seq: number) =>
  new Fault('log-unavailable', {}, { cause: new Error(`Entry ${seq} of ${conversation} is missing.`) })
