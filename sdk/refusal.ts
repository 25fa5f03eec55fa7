/** Why something did not happen, as the server says it, or as this side found out. */
import { FAULTS, type FaultCode } from '../protocol/faults.ts'

/** Refusals that never reach the server. None is in the table of faults. */
const OWN = {
  'outbox-full': { final: true, says: 'More messages wait to be sent than the outbox holds.' },
  'too-many-calls': { final: false, says: 'More calls wait for an answer than are allowed.' },
  'not-connected': { final: false, says: 'There is no connection.' },
  unreachable: { final: false, says: 'The server cannot be reached.' },
  'timed-out': { final: false, says: 'The server did not answer in time; whether it was done is unknown.' },
  'signed-out': { final: true, says: 'The log-in has ended; log in again.' },
  closed: { final: false, says: 'The client was closed. A message in a kept outbox goes out with the next client.' },
} as const

export type RefusalCode = FaultCode | keyof typeof OWN

export class Refusal extends Error {
  /** A row of the faults, one of the client's own, or one that a newer server knows. */
  readonly code: RefusalCode | (string & {})
  /** Repeating it does not help. */
  readonly final: boolean
  readonly details: Readonly<Record<string, unknown>>
  /** Milliseconds to wait before the next attempt, when the server named them. */
  readonly retryAfterMs?: number

  constructor(
    code: string,
    given: {
      says?: string
      details?: Record<string, unknown>
      final?: boolean
      retryAfterMs?: number
      cause?: unknown
    } = {},
  ) {
    const row = rowOf(code)
    super(given.says ?? row?.says ?? code, given.cause === undefined ? undefined : { cause: given.cause })
    this.name = 'Refusal'
    this.code = code
    this.final = given.final ?? row?.final ?? true
    this.details = given.details ?? {}
    if (given.retryAfterMs !== undefined) this.retryAfterMs = given.retryAfterMs
  }

  get says(): string {
    return this.message
  }
}

const rowOf = (code: string): { final: boolean; says: string } | undefined =>
  Object.hasOwn(FAULTS, code)
    ? FAULTS[code as FaultCode]
    : Object.hasOwn(OWN, code)
      ? OWN[code as keyof typeof OWN]
      : undefined

type PacketOf = 'puback' | 'suback' | 'connack5' | 'disconnect'

/**
 * The refusal behind an MQTT 5 reason code. Several rows share a code, so the reason string decides: it is the fault's code
 * and sentence, `not-a-member: The caller is …`. Without one, the first row with that reason code is taken.
 */
export function refusalOf(packet: PacketOf, reasonCode: number, reasonString = ''): Refusal {
  const [, named, says] = /^([a-z][a-z0-9-]*): (.*)$/s.exec(reasonString) ?? []
  if (named) return new Refusal(named, { says: says ?? reasonString })
  const code = (Object.keys(FAULTS) as FaultCode[]).find(
    name => (FAULTS[name] as Partial<Record<PacketOf, number>>)[packet] === reasonCode,
  )
  if (code) return new Refusal(code)
  return new Refusal('internal', {
    says: reasonString || `The server ended it with reason code 0x${reasonCode.toString(16)}.`,
  })
}
