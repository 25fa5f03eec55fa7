/** Reads the log: from memory what is hot, else from disk; never what followers were not told of, nor what is removed. */
import type { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey, ReadRange, Tail } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { EpochMs, Seq } from '../../protocol/ids.ts'
import type { Blocks } from './blocks.ts'
import type { Committer } from './committer.ts'
import type { Ends } from './ends.ts'
import type { Engine } from './engine.ts'
import { NOTHING, readEntry, readTail, type TailRow } from './entries.ts'
import type { Hot } from './hot.ts'
import { cut, MAX_ENTRIES, readStored } from './reading.ts'
import { damaged, entryKey, tailKey } from './rows.ts'

interface Needs {
  engine: Engine
  committer: Pick<Committer, 'generation'>
  hot: Hot
  ends: Ends
  blocks: Blocks
}
export interface Place {
  conversation: ConversationKey
  seq: Seq
}
type End = Readonly<TailRow>

/** Who reads so much at once pages through history; a pump takes what its window has room for. */
const PAGE_BYTES = 1024 * 1024

export class Reader {
  readonly #needs: Needs

  constructor(needs: Needs) {
    this.#needs = needs
  }

  async read(conversation: ConversationKey, range: ReadRange): Promise<StoredEntry[]> {
    const { limit } = range
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_ENTRIES)
      throw new Fault('malformed', { issues: [{ path: ['limit'], message: 'From 1 to 1,000.' }] })
    for (;;) {
      const known = this.#needs.hot.tail(conversation)
      const end = known ?? (await this.#end(conversation))
      try {
        return await this.#readWithin(conversation, range, end, known)
      } catch (cause) {
        // What was removed meanwhile is not missing.
        if ((await this.#end(conversation)).first === end.first) throw cause
      }
    }
  }

  async #readWithin(
    conversation: ConversationKey,
    { after = 0, before = Number.MAX_SAFE_INTEGER as Seq, limit, ...how }: ReadRange,
    end: End,
    known: End | undefined,
  ): Promise<StoredEntry[]> {
    const { maxBytes = Number.POSITIVE_INFINITY, reverse = false } = how
    const { hot: memory, blocks, engine } = this.#needs
    let from = Math.max(after + 1, end.first)
    let to = Math.min(before - 1, end.seq)
    if (reverse) from = Math.max(from, to - limit + 1)
    else to = Math.min(to, from + limit - 1)
    if (from > to) return []
    const hot = memory.range(conversation, from, to)
    if (hot) return cut(reverse ? hot.reverse() : hot, maxBytes)
    const span = { from, to, reverse, maxBytes }
    if (maxBytes >= PAGE_BYTES) return blocks.read(conversation, span, end)
    const entries = await readStored(engine, conversation, span)
    // An append since may have taken one of them back.
    if (known && known === memory.tail(conversation))
      memory.offer(conversation, reverse ? entries.toReversed() : entries, known)
    return entries
  }

  async get(wanted: readonly Place[]): Promise<(StoredEntry | undefined)[]> {
    const entries = wanted.map(({ conversation, seq }) => this.#needs.hot.get(conversation, seq))
    const cold = [...wanted.keys()].filter(at => !entries[at] && this.#isTold(wanted[at] as Place))
    if (cold.length === 0) return entries
    const asked = cold.map(at => wanted[at] as Place)
    // Before the entries: what is there and not removed by then is an answer.
    const ends = await this.#ends(asked.map(({ conversation }) => conversation))
    const values = await this.#needs.engine.getMany(asked.map(at => entryKey(at.conversation, at.seq)))
    const absent: typeof asked = []
    asked.forEach((at, nth) => {
      const value = values[nth]
      if (at.seq < (ends[nth] as End).first) return
      if (value) entries[cold[nth] as number] = readEntry(at.conversation, at.seq, value)
      else absent.push(at)
    })
    if (absent.length > 0) await this.#mustBeAbsent(absent)
    return entries
  }

  async tails(conversations: readonly ConversationKey[]): Promise<Tail[]> {
    const ends = await this.#ends(conversations)
    return ends.map(({ seq, n, sentAt, first }) => ({ seq, n, sentAt, first }))
  }

  async seqAt(conversation: ConversationKey, since: EpochMs): Promise<Seq> {
    const end = await this.#end(conversation)
    if (end.seq === 0 || end.sentAt < since) return (end.seq + 1) as Seq
    let low: number = end.first
    let high: number = end.seq
    while (low < high) {
      const middle = Math.floor((low + high) / 2) as Seq
      const [entry] = await this.get([{ conversation, seq: middle }])
      // One that is removed meanwhile lies before all that are there.
      if (entry && entry.sentAt >= since) high = middle
      else low = middle + 1
    }
    return low as Seq
  }

  async #end(conversation: ConversationKey): Promise<End> {
    const [end] = await this.#ends([conversation])
    return end ?? NOTHING
  }

  async #ends(conversations: readonly ConversationKey[]): Promise<End[]> {
    const { hot, engine, committer, ends: moving } = this.#needs
    const ends = conversations.map(conversation => hot.tail(conversation) ?? moving.told(conversation))
    const cold = [...conversations.keys()].filter(at => !ends[at])
    if (cold.length > 0) {
      const { generation } = committer
      const values = await engine.getMany(cold.map(at => tailKey(conversations[at] as ConversationKey)))
      cold.forEach((at, nth) => {
        const conversation = conversations[at] as ConversationKey
        const end = readTail(tailKey(conversation), values[nth])
        const told = moving.told(conversation)
        // An append since then may have moved it, or has, and is not told yet.
        if (generation === committer.generation && !told && end !== NOTHING) hot.setTail(conversation, end)
        ends[at] = told ?? end
      })
    }
    return ends.map(end => end ?? NOTHING)
  }

  #isTold({ conversation, seq }: Place): boolean {
    return seq <= (this.#needs.ends.told(conversation)?.seq ?? seq)
  }

  /** Every position from the first to the last has its row. */
  async #mustBeAbsent(absent: readonly Place[]): Promise<void> {
    const ends = await this.#ends(absent.map(({ conversation }) => conversation))
    absent.forEach(({ conversation, seq }, nth) => {
      const { first, seq: last } = ends[nth] as End
      if (seq >= first && seq <= last) throw damaged(entryKey(conversation, seq), 'it is missing')
    })
  }
}
