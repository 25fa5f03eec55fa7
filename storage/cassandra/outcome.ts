/** What the cause of a refusal says of the request. */
import { errors, types } from 'cassandra-driver'
import type { StorageOutcome } from '../observed.ts'

const { responseErrorCodes: codes } = types
const TIMEOUTS = [codes.writeTimeout, codes.readTimeout, codes.writeFailure, codes.readFailure]
const REFUSALS = [codes.unavailableException, codes.overloaded, codes.isBootstrapping]

/** @param cause of a Fault `log-unavailable` */
export function outcomeOfCause(cause: unknown): StorageOutcome {
  if (cause instanceof errors.OperationTimedOutError) return 'timeout'
  if (cause instanceof errors.ResponseError) {
    if (TIMEOUTS.includes(cause.code)) return 'timeout'
    return REFUSALS.includes(cause.code) ? 'unavailable' : 'failed'
  }
  if (cause instanceof errors.NoHostAvailableError) {
    // One of the nodes that were tried may have done it before it was given up.
    const inner = Object.values(cause.innerErrors ?? {}).map(outcomeOfCause)
    return inner.includes('timeout') ? 'timeout' : 'unavailable'
  }
  return cause instanceof errors.BusyConnectionError ? 'unavailable' : 'failed'
}
