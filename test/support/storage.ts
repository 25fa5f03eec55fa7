/** Storage that a test disturbs: appends that fail, lose their answer, or wait; and scans that are counted. */
import type { Change, EntryDraft, MessageLog, Storage } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'

export interface Disturbance {
  /** The append is refused, and nothing stored. */
  fails?: (key: string) => boolean
  /** The append is stored, and its answer lost. */
  loses?: (key: string) => boolean
  /** Called before the append is handed on; what it returns is waited for. */
  before?: (key: string, draft: EntryDraft) => Promise<void> | undefined
  /** Called as soon as the append is handed on, before it is durable. */
  enqueued?: (key: string, draft: EntryDraft) => void
  scanned?: (table: string) => void
  /** The rows are written, and the answer is lost. */
  losesRows?: (changes: readonly Change[]) => boolean
}

export function disturbed(storage: Storage, how: Disturbance): Storage {
  const { log, records } = storage
  const append: MessageLog['append'] = async (key, draft, options) => {
    if (how.fails?.(key)) throw new Fault('log-unavailable')
    const wait = how.before?.(key, draft)
    if (wait) await wait
    const appended = log.append(key, draft, options)
    how.enqueued?.(key, draft)
    const stored = await appended
    if (how.loses?.(key)) throw new Fault('log-unavailable')
    return stored
  }
  return {
    log: {
      append,
      read: log.read.bind(log),
      get: log.get.bind(log),
      tails: log.tails.bind(log),
      seqAt: log.seqAt.bind(log),
      trim: log.trim.bind(log),
      follow: log.follow.bind(log),
      watch: log.watch.bind(log),
    },
    records: {
      get: records.get.bind(records),
      getMany: records.getMany.bind(records),
      async write(changes, options) {
        await records.write(changes, options)
        if (how.losesRows?.(changes)) throw new Fault('log-unavailable')
      },
      scan(from, partition, range) {
        if (!range.index) how.scanned?.(from.name)
        return records.scan(from, partition, range)
      },
    },
    ready: () => storage.ready(),
    [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose](),
  }
}
