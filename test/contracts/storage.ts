/** All that storage promises, as one list. */
import type { Engine } from './ground.ts'
import { logContract } from './log.ts'
import { logReadingContract } from './log-reading.ts'
import { logTrimmingContract } from './log-trimming.ts'
import { logWritesContract } from './log-writes.ts'
import { recordsContract } from './records.ts'

const CONTRACTS = [logContract, logReadingContract, logWritesContract, logTrimmingContract, recordsContract]

export function storageContracts(engine: Engine): void {
  for (const contract of CONTRACTS) contract(engine)
}
