/** Rows of sessions: a head each, a position per conversation, and what was published. */
import { sortable, table } from '../core/ports.ts'
import { isConflict } from '../protocol/faults.ts'
import type { AppId, ConversationId, EpochMs, Member } from '../protocol/ids.ts'
import type { StoredCursor } from './cursor.ts'
import type { StoredFilter } from './filters.ts'

export interface SessionId {
  app: AppId
  member: Member
  clientId: string
}
export const sessionKey = ({ app, member, clientId }: SessionId) => `${app}/${member}/${clientId}`
export const partitionOf = ({ app, member }: Pick<SessionId, 'app' | 'member'>) => `${app}/${member}`

export interface StoredWill {
  /** Its clientMessageId where it names none: told twice around a crash it is one message, and no other will is taken for it. */
  id: string
  topic: string
  /** Base64. */
  payload: string
  qos: 0 | 1 | 2
  delayMs: number
}

/** Packet id, conversation, first and last seq. */
export type StoredFlight = [packetId: number, conversation: ConversationId, from: number, seq: number]

export interface SessionRow {
  /** 1: of an earlier version, which has no more places than indexes. */
  v: 1 | 2
  app: AppId
  member: Member
  clientId: string
  /** Grows with every CONNECT, also from one session to the next of the same name; of several owners the newest is the right one. */
  epoch: number
  /** The epoch in which it began: positions of one before, of the same name, are not its own. */
  since?: number
  filters: StoredFilter[]
  inFlight: StoredFlight[]
  /** The last connection ended without writing how far its client had come. */
  torn?: true
  /** Life after the connection, in seconds; 0 ends with it, 0xffffffff never ends (MQTT 5, 3.1.2.11.2). */
  expirySeconds: number
  /** Set while disconnected. */
  expiresAt?: EpochMs
  /** Told when the connection ends without DISCONNECT; set until then. */
  will?: StoredWill
  /** When a will that waits for its delay is told. */
  willAt?: EpochMs
  grant: string
  /** The run of the node that it was connected to last; absent where there is but one node. */
  run?: string
}

export const NEVER = 0xffff_ffff

/**
 * Sessions of a cluster stand in so many places of each index: its storage keeps marks of all that left one for hours, passes them
 * when it looks, and gives up at 100,000.
 */
const PLACES = 32
/** The partitions of an index where sessions of that node, or of a node like it, are found. */
export const placesOf = (index: string, run: string | undefined): string[] =>
  run === undefined ? [index] : [index, ...Array.from({ length: PLACES }, (_, nth) => `${index}/${nth}`)]
const placeOf = (index: string, { run, v, epoch }: SessionRow) =>
  run === undefined || v === 1 ? index : `${index}/${epoch % PLACES}`

const ofRun = (run: string | undefined) => (run === undefined ? 'connected' : `connected/${run}`)
/** Where the sessions that are connected to a run of a node are found. */
export const connectedTo = (run: string | undefined): string[] => placesOf(ofRun(run), run)

/** Ends: sessions that are disconnected by when they expire. Connected: all others. Wills: those that wait for their delay. */
export const SESSIONS = table<SessionRow>(
  'sessions',
  {
    ends: row =>
      row.expiresAt === undefined ? undefined : { partition: placeOf('ends', row), sort: sortable(row.expiresAt) },
    connected: row => (row.expiresAt === undefined ? { partition: placeOf(ofRun(row.run), row), sort: '' } : undefined),
    wills: row =>
      row.willAt === undefined ? undefined : { partition: placeOf('wills', row), sort: sortable(row.willAt) },
  },
  { spread: true },
)
/** Ranked by the session's epoch, then by the order of its writes. Partition: session key; key: conversation. */
export const CURSORS = table<StoredCursor>('cursors', undefined, { ranked: true })
/** What a session published and may publish again; see origins.ts. Ranked by the order of arrival. */
export const ORIGINS = table<object>('origins', undefined, { ranked: true })
/** A connection writes less often, so that its ranks stay below those of the next epoch. */
const WRITES_PER_MS = 128
/** The rank of what the owner of an epoch writes; `nth` counts its writes. */
export const rankOf = (epoch: number, nth: number) => epoch * WRITES_PER_MS + nth

/** What a session that ended with its connection published is known so much longer, for a client that sends it again. */
export const ORIGINS_KEPT_SECONDS = 86_400
/** A session that only waits for its will to be told lives that much longer. */
export const WILL_KEPT_MS = 60_000

/** What a CONNECT asks for. */
export interface Wish {
  expirySeconds: number
  will?: StoredWill
  grant: string
}
/** The head of a session that is connected; of one that goes on, `before` is the head that it had. */
export const headOf = (
  { app, member, clientId }: SessionId,
  epoch: number,
  { expirySeconds, will, grant }: Wish,
  run: string | undefined,
  before: SessionRow | undefined,
): SessionRow => ({
  ...{ v: 2, app, member, clientId, epoch, expirySeconds, grant },
  since: before ? (before.since ?? 0) : epoch,
  filters: before?.filters ?? [],
  inFlight: before?.inFlight ?? [],
  ...(will && { will }),
  ...(run !== undefined && { run }),
})

/** A session that is over, whose head stays for a while. */
export const emptied = ({ will: _will, willAt: _willAt, ...row }: SessionRow, expiresAt: EpochMs): SessionRow => ({
  ...row,
  filters: [],
  inFlight: [],
  expirySeconds: 0,
  expiresAt,
})

/** Also where nobody has seen yet that the connection has ended. */
export const isTorn = ({ torn, expiresAt }: SessionRow): boolean => torn === true || expiresAt === undefined
/** What an owner of an earlier session of the name wrote late is not this one's. */
export const isOf = ({ since = 0 }: SessionRow, { e }: StoredCursor) => e >= since
/** The session connected again meanwhile, and is its new owner's. */
export const ignoreConflict = (thrown: unknown) => {
  if (!isConflict(thrown)) throw thrown
}
