/**
 * Every refusal, once. `http` is the status of REST (RFC 9457 problem, `code` is the row's name); `connack` is the return
 * code of MQTT 3.1.1; the others are reason codes of MQTT 5, each legal for its packet. `final`: repeating it does not help,
 * so a publish is acknowledged with it; a temporary fault is never acknowledged, the connection closes and the client
 * sends again. Codes are public and never used for anything else again.
 */
export interface FaultRow {
  http: number
  final: boolean
  says: string
  connack?: number
  connack5?: number
  puback?: number
  suback?: number
  disconnect?: number
}

// biome-ignore format: a table, a row a line
export const FAULTS = {
  malformed: { http: 400, puback: 0x99, suback: 0x8f, final: true, says: 'The request does not fit its schema.' },
  'too-large': { http: 413, puback: 0x97, disconnect: 0x95, final: true, says: 'The request is larger than the limit.' },
  'not-signed-in': { http: 401, connack: 5, connack5: 0x87, puback: 0x87, suback: 0x87, final: true, says: 'A token or key is needed.' },
  'bad-credentials': { http: 401, connack: 4, connack5: 0x86, final: true, says: 'The name, password, token or key is not valid.' },
  'token-expired': { http: 401, connack: 4, connack5: 0x86, disconnect: 0xa0, final: true, says: 'The token has expired.' },
  'token-revoked': { http: 401, connack: 4, connack5: 0x86, disconnect: 0x87, final: true, says: 'The token has been revoked.' },
  'not-allowed': { http: 403, connack: 5, connack5: 0x87, puback: 0x87, suback: 0x87, final: true, says: 'The caller may not do this.' },
  'not-a-member': { http: 403, puback: 0x87, suback: 0x87, final: true, says: 'The caller is not in this conversation.' },
  muted: { http: 403, puback: 0x87, final: true, says: 'The caller may not write in this group now.' },
  'registration-closed': { http: 403, puback: 0x87, final: true, says: 'New accounts are made by an administrator only.' },
  'no-such-topic': { http: 404, connack: 5, connack5: 0x90, puback: 0x90, suback: 0x87, disconnect: 0x90, final: true, says: 'There is no such topic to publish or subscribe to.' },
  'no-such-operation': { http: 404, puback: 0x90, final: true, says: 'There is no such operation.' },
  'no-such-user': { http: 404, puback: 0x90, final: true, says: 'There is no such user.' },
  'no-such-group': { http: 404, puback: 0x90, final: true, says: 'There is no such group.' },
  'no-such-device': { http: 404, puback: 0x90, final: true, says: 'There is no such device.' },
  'no-such-conversation': { http: 404, puback: 0x90, final: true, says: 'There is no such conversation.' },
  'no-such-entry': { http: 404, puback: 0x90, final: true, says: 'There is no such entry in the conversation.' },
  'no-such-key': { http: 404, puback: 0x90, final: true, says: 'There is no such key.' },
  'not-found': { http: 404, final: true, says: 'There is nothing at this address.' },
  'method-not-allowed': { http: 405, final: true, says: 'This address does not take this method.' },
  'id-taken': { http: 409, puback: 0x83, final: true, says: 'The id is or was in use, and ids are never given again.' },
  'client-message-id-reused': { http: 409, puback: 0x83, final: true, says: 'The clientMessageId was used for a different message.' },
  'already-a-member': { http: 409, puback: 0x83, final: true, says: 'All of these users are in the group already.' },
  'owner-must-stay': { http: 409, puback: 0x83, final: true, says: 'The owner hands the group on before leaving it.' },
  'group-full': { http: 409, puback: 0x83, final: true, says: 'The group has as many members as a group may have.' },
  'beyond-the-end': { http: 409, puback: 0x83, final: true, says: 'The position is past the end of the conversation.' },
  'already-recalled': { http: 409, puback: 0x83, final: true, says: 'The message was recalled or burnt already.' },
  'recall-window-over': { http: 409, puback: 0x83, final: true, says: 'The message is too old to recall.' },
  conflict: { http: 409, puback: 0x83, final: true, says: 'Another change came first; read again and repeat.' },
  'identifier-rejected': { http: 400, connack: 2, connack5: 0x85, final: true, says: 'The client id is not acceptable.' },
  'no-retained': { http: 400, connack: 5, connack5: 0x9a, puback: 0x83, final: true, says: 'Clients cannot retain messages here.' },
  'too-many-filters': { http: 400, suback: 0x97, final: true, says: 'A SUBSCRIBE may hold at most 50 filters, and a session at most 500.' },
  'too-many-keys': { http: 409, puback: 0x97, final: true, says: 'The account has as many keys as it may have.' },
  'too-many-connections': { http: 429, connack: 3, connack5: 0x97, disconnect: 0x97, final: false, says: 'There are more connections than the limit.' },
  'too-many-requests': { http: 429, connack: 3, connack5: 0x9f, puback: 0x97, suback: 0x97, disconnect: 0x96, final: false, says: 'Too many attempts; wait as long as Retry-After says.' },
  'protocol-error': { http: 400, connack: 5, connack5: 0x82, disconnect: 0x82, final: true, says: 'The packet breaks a rule of MQTT.' },
  'session-taken-over': { http: 409, disconnect: 0x8e, final: true, says: 'The same client id connected elsewhere.' },
  'reader-stalled': { http: 408, disconnect: 0x98, final: true, says: 'The connection took no byte for too long.' },
  'storage-full': { http: 507, connack: 3, connack5: 0x97, disconnect: 0x97, final: false, says: 'The disk is nearly full; nothing is accepted until there is room.' },
  'log-unavailable': { http: 503, connack: 3, connack5: 0x88, disconnect: 0x97, final: false, says: 'Messages cannot be stored now.' },
  'shutting-down': { http: 503, connack: 3, connack5: 0x88, disconnect: 0x8b, final: false, says: 'The server is stopping; connect again.' },
  internal: { http: 500, connack: 3, connack5: 0x80, disconnect: 0x80, final: false, says: 'The server made a mistake; it is logged.' },
} as const satisfies Record<string, FaultRow>

export type FaultCode = keyof typeof FAULTS

/** A refusal. `details` go to the caller beside the code; the cause stays in the server's log. */
export class Fault extends Error {
  readonly code: FaultCode
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: FaultCode, details: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(FAULTS[code].says, options)
    this.name = 'Fault'
    this.code = code
    this.details = details
  }

  get row(): FaultRow {
    return FAULTS[this.code]
  }

  /** Anything that is not a Fault is a mistake of the server. */
  static from(thrown: unknown): Fault {
    return thrown instanceof Fault ? thrown : new Fault('internal', {}, { cause: thrown })
  }
}

/** Somebody else came first: what was expected of a row, or of who is in, does not hold. */
export const isConflict = (thrown: unknown) => thrown instanceof Fault && thrown.code === 'conflict'
