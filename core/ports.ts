/**
 * The shapes that storage, transports and the machine give to the rules, and nothing else does.
 * Each has one contract suite in test/contracts, run over every adapter.
 */
import type { MessageLog } from './ports/log.ts'
import type { Records } from './ports/records.ts'

export * from './ports/cluster.ts'
export * from './ports/log.ts'
export * from './ports/machine.ts'
export * from './ports/records.ts'
export * from './ports/transports.ts'

/** Both, over one set of files or one cluster. */
export interface Storage extends AsyncDisposable {
  log: MessageLog
  records: Records
  /** Rejects with Fault `log-unavailable` or `storage-full` when writes would be refused now. */
  ready(): Promise<void>
}
