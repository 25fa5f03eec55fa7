/** Tells of every request to log and records how long it took and what became of it. */
import type { MessageLog, Records, Storage } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'

export const OPERATIONS = ['append', 'read', 'write'] as const
/**
 * `conflict`: another writer was first. `unavailable`: refused without being done. `timeout`: whether it was done is not known
 * in time. `failed`: anything else that is no answer. A refusal that the request itself is to blame for is `ok`.
 */
export const OUTCOMES = ['ok', 'conflict', 'unavailable', 'timeout', 'failed'] as const
export type StorageOutcome = (typeof OUTCOMES)[number]

export interface StorageRequest {
  engine: 'level' | 'memory' | 'cassandra'
  operation: (typeof OPERATIONS)[number]
  outcome: StorageOutcome
  tookMs: number
}

interface Observing {
  engine: StorageRequest['engine']
  /** Does not throw. */
  tell: (request: StorageRequest) => void
  /** What the cause of a `log-unavailable` means with this engine. */
  causes?: (cause: unknown) => StorageOutcome
}

/** The same storage: whoever asks gets the very promises of the engine, so that nothing comes in another turn than before. */
export function observed(storage: Storage, { engine, tell, causes = () => 'failed' }: Observing): Storage {
  const watch: Watch = (operation, answer) => {
    const since = performance.now()
    const told = (outcome: StorageOutcome) => tell({ engine, operation, outcome, tookMs: performance.now() - since })
    answer.then(
      () => told('ok'),
      error => told(outcomeOf(error, causes)),
    )
    return answer
  }
  return {
    log: watchedLog(storage.log, watch),
    records: watchedRecords(storage.records, watch),
    ready: () => storage.ready(),
    [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose](),
  }
}

type Watch = <T>(operation: StorageRequest['operation'], answer: Promise<T>) => Promise<T>

function watchedLog(log: MessageLog, watch: Watch): MessageLog {
  return {
    append: (conversation, draft, options) => watch('append', log.append(conversation, draft, options)),
    read: (conversation, range) => watch('read', log.read(conversation, range)),
    get: wanted => watch('read', log.get(wanted)),
    tails: conversations => watch('read', log.tails(conversations)),
    seqAt: (conversation, since) => watch('read', log.seqAt(conversation, since)),
    trim: (conversation, below) => watch('write', log.trim(conversation, below)),
    follow: (listener, lost) => log.follow(listener, lost),
    watch: conversation => log.watch(conversation),
  }
}

function watchedRecords(records: Records, watch: Watch): Records {
  return {
    get: (from, partition, key) => watch('read', records.get(from, partition, key)),
    getMany: (from, keys) => watch('read', records.getMany(from, keys)),
    scan: (from, partition, range) => watch('read', records.scan(from, partition, range)),
    write: (changes, options) => watch('write', records.write(changes, options)),
  }
}

function outcomeOf(error: unknown, causes: (cause: unknown) => StorageOutcome): StorageOutcome {
  if (!(error instanceof Fault)) return 'failed'
  if (error.code === 'conflict') return 'conflict'
  if (error.code === 'storage-full') return 'unavailable'
  if (error.code === 'log-unavailable') return causes(error.cause)
  return error.row.final ? 'ok' : 'failed'
}
