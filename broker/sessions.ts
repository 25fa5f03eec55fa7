/**
 * Sessions as they lie in storage: a head record each (epoch, filters, what is in flight, expiry) and a small row per
 * conversation. A disconnected session owns nothing in memory. Every write carries the version of the head and loses
 * against a newer one, so the late flush of an old owner is harmless.
 */
import {
  type Change,
  check,
  type Found,
  put,
  type Records,
  type RowKey,
  remove,
  type Scheduler,
  type Table,
  table,
} from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import type { AppId, ConversationId, EpochMs, Member } from '../protocol/ids.ts'
import type { StoredCursor } from './cursor.ts'
import type { StoredFilter } from './filters.ts'

export interface SessionId {
  app: AppId
  member: Member
  clientId: string
}
export const sessionKey = ({ app, member, clientId }: SessionId) => `${app}/${member}/${clientId}`

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
  v: 1
  app: AppId
  member: Member
  clientId: string
  /** Grows with every CONNECT, also from one session to the next of the same name; of several owners the newest is the right one. */
  epoch: number
  filters: StoredFilter[]
  inFlight: StoredFlight[]
  /** Life after the connection, in seconds; 0 ends with it, 0xffffffff never ends (MQTT 5, 3.1.2.11.2). */
  expirySeconds: number
  /** Set while disconnected. */
  expiresAt?: EpochMs
  /** Told when the connection ends without DISCONNECT; set until then. */
  will?: StoredWill
  /** When a will that waits for its delay is told. */
  willAt?: EpochMs
  grant: string
}

const NEVER = 0xffff_ffff
const sortable = (at: number) => String(Math.min(at, Number.MAX_SAFE_INTEGER)).padStart(16, '0')

/** Ends: sessions that are disconnected by when they expire. Connected: all others. Wills: those that wait for their delay. */
export const SESSIONS = table<SessionRow>('sessions', {
  ends: row => (row.expiresAt === undefined ? undefined : { partition: 'ends', sort: sortable(row.expiresAt) }),
  connected: row => (row.expiresAt === undefined ? { partition: 'connected', sort: '' } : undefined),
  wills: row => (row.willAt === undefined ? undefined : { partition: 'wills', sort: sortable(row.willAt) }),
})
export const CURSORS = table<StoredCursor>('cursors')
/** What a session published and may publish again; see origins.ts. */
export const ORIGINS = table<object>('origins')

export interface Opened {
  row: SessionRow
  version: number
  /** The session goes on; its cursors are in storage. */
  resumed: boolean
}

const PAGE = 500
/** What a session that ended with its connection published is known so much longer, for a client that sends it again. */
export const ORIGINS_KEPT_SECONDS = 86_400
/** A session that only waits for its will to be told lives that much longer. */
export const WILL_KEPT_MS = 60_000

export class SessionStore {
  readonly #records: Records
  readonly #scheduler: Scheduler

  constructor({ records, scheduler }: { records: Records; scheduler: Scheduler }) {
    this.#records = records
    this.#scheduler = scheduler
  }

  /**
   * Mints the next epoch by compare-and-put on the head: of two owners one gets it. `ends` hears of a session that is
   * over with this, before it is.
   */
  async open(
    id: SessionId,
    wish: { clean: boolean; expirySeconds: number; will?: StoredWill; grant: string },
    ends: (row: SessionRow) => Promise<void> = async () => {},
  ): Promise<Opened> {
    for (;;) {
      const found = await this.#records.get(SESSIONS, partitionOf(id), id.clientId)
      const alive = found && (found.row.expiresAt === undefined || found.row.expiresAt > this.#scheduler.now())
      const resumed = alive === true && !wish.clean && found.row.expirySeconds > 0
      // What it published stays: also a clean start may repeat it.
      if (found && !resumed) {
        await ends(found.row)
        await this.#purge(CURSORS, sessionKey(id))
      }
      const row: SessionRow = {
        v: 1,
        ...id,
        epoch: Math.max((found?.row.epoch ?? 0) + 1, this.#scheduler.now()),
        filters: resumed ? found.row.filters : [],
        inFlight: resumed ? found.row.inFlight : [],
        expirySeconds: wish.expirySeconds,
        ...(wish.will && { will: wish.will }),
        grant: wish.grant,
      }
      const version = found?.version ?? 0
      try {
        await this.#records.write([put(SESSIONS, partitionOf(id), id.clientId, row, version)])
        return { row, version: version + 1, resumed }
      } catch (thrown) {
        // Another connection of the same session came first: look again.
        if (!(thrown instanceof Fault) || thrown.code !== 'conflict') throw thrown
      }
    }
  }

  /** Head and cursors in one write. @throws Fault `conflict`: the session has a newer owner. */
  async save(row: SessionRow, version: number, cursors: Change[]): Promise<void> {
    await this.#records.write([put(SESSIONS, partitionOf(row), row.clientId, row, version), ...cursors])
  }

  /** Cursors only; a crash may lose it, and then repeats some entries. @throws Fault `conflict`: as `save`. */
  async flush(id: SessionId, version: number, cursors: Change[]): Promise<void> {
    await this.#records.write([check(SESSIONS, partitionOf(id), id.clientId, version), ...cursors], { durable: false })
  }

  /** The version of the head, for its owner, who does not know whether it was written. @throws Fault `conflict`: as `save`. */
  async version(row: SessionRow): Promise<number> {
    const found = await this.#records.get(SESSIONS, partitionOf(row), row.clientId)
    if (found?.row.epoch !== row.epoch) throw new Fault('conflict')
    return found.version
  }

  /** The session is over: nothing of it stays, and no power cut leaves its positions to a later one of the name. */
  async end(id: SessionId, version: number): Promise<void> {
    const rows = await this.#records.scan(CURSORS, sessionKey(id), { limit: PAGE })
    const gone = rows.map(({ partition, key }) => remove(CURSORS, partition, key))
    await this.#records.write([remove(SESSIONS, partitionOf(id), id.clientId, version), ...gone])
    if (rows.length === PAGE) await this.#purge(CURSORS, sessionKey(id))
    await this.#purge(ORIGINS, sessionKey(id))
  }

  async cursor(key: string, conversation: ConversationId): Promise<StoredCursor | undefined> {
    return (await this.#records.get(CURSORS, key, conversation))?.row
  }

  /** All cursors of a session. */
  async cursors(key: string): Promise<Map<string, StoredCursor>> {
    const all = new Map<string, StoredCursor>()
    let after: string | undefined
    do {
      const page = await this.#records.scan(CURSORS, key, { limit: PAGE, ...(after !== undefined && { after }) })
      for (const { key: conversation, row } of page) all.set(conversation, row)
      after = page.length === PAGE ? page.at(-1)?.cursor : undefined
    } while (after !== undefined)
    return all
  }

  /** When a session that ends its connection now expires. */
  expiresAt(expirySeconds: number): EpochMs {
    return expirySeconds === NEVER ? Number.MAX_SAFE_INTEGER : this.#scheduler.now() + expirySeconds * 1000
  }

  /** Sessions that the process before left connected are disconnected from now on; their wills wait for `graceMs`. */
  async recover(graceMs: number): Promise<void> {
    for (;;) {
      const page = await this.#records.scan(SESSIONS, 'connected', { index: 'connected', limit: PAGE })
      const changes = page.map(({ row, version }) =>
        put(SESSIONS, partitionOf(row), row.clientId, this.#ended(row, graceMs), version),
      )
      if (changes.length > 0) await this.#records.write(changes)
      if (page.length < PAGE) return
    }
  }

  #ended(row: SessionRow, graceMs: number): SessionRow {
    const expiresAt = this.expiresAt(row.expirySeconds || ORIGINS_KEPT_SECONDS)
    if (!row.will) return { ...row, expiresAt }
    const willAt = this.#scheduler.now() + Math.max(row.will.delayMs, graceMs)
    return { ...row, willAt, expiresAt: Math.max(expiresAt, willAt + WILL_KEPT_MS) }
  }

  /** Sessions whose will is due. */
  async dueWills(): Promise<Found<SessionRow>[]> {
    const page = await this.#records.scan(SESSIONS, 'wills', { index: 'wills', limit: PAGE })
    return page.filter(({ row: { willAt = 0 } }) => willAt <= this.#scheduler.now())
  }

  async willTold({ row, version }: Found<SessionRow>): Promise<void> {
    const { will: _will, willAt: _willAt, ...rest } = row
    await this.#records.write([put(SESSIONS, partitionOf(row), row.clientId, rest, version)]).catch(ignoreConflict)
  }

  /** Removes what has expired, a page at a time. */
  async sweep(): Promise<number> {
    const page = await this.#records.scan(SESSIONS, 'ends', { index: 'ends', limit: PAGE })
    const over = page.filter(({ row: { expiresAt = 0 } }) => expiresAt <= this.#scheduler.now())
    for (const { row, version } of over) await this.#expire(row, version).catch(ignoreConflict)
    return over.length
  }

  /** What it published is known for as long as that of a session that ended with its connection. */
  async #expire(row: SessionRow, version: number): Promise<void> {
    const { will: _will, willAt: _willAt, ...rest } = row
    const expiresAt = (row.expiresAt ?? 0) + (ORIGINS_KEPT_SECONDS - row.expirySeconds) * 1000
    const [published] = await this.#records.scan(ORIGINS, sessionKey(row), { limit: 1 })
    if (row.expirySeconds === 0 || expiresAt <= this.#scheduler.now() || !published) return this.end(row, version)
    await this.save({ ...rest, filters: [], inFlight: [], expirySeconds: 0, expiresAt }, version, [])
    await this.#purge(CURSORS, sessionKey(row))
  }

  async #purge<Row>(rows: Table<Row>, key: string): Promise<void> {
    for (let more = true; more; ) {
      const page: RowKey[] = await this.#records.scan(rows, key, { limit: PAGE })
      const gone = page.map(row => remove(rows, row.partition, row.key))
      if (gone.length > 0) await this.#records.write(gone, { durable: false })
      more = gone.length === PAGE
    }
  }
}

const partitionOf = ({ app, member }: Pick<SessionId, 'app' | 'member'>) => `${app}/${member}`

/** The session connected again meanwhile, and is its new owner's. */
function ignoreConflict(thrown: unknown): void {
  if (!(thrown instanceof Fault) || thrown.code !== 'conflict') throw thrown
}
