/**
 * Sessions as they lie in storage: a head record each (epoch, filters, what is in flight, expiry) and a small row per
 * conversation. A disconnected session owns nothing in memory. Every write carries the version of the head and loses
 * against a newer one, so the late flush of an old owner is harmless.
 */
import {
  type Change,
  check,
  put,
  type Records,
  remove,
  removeRanked,
  type Scheduler,
  type Table,
} from '../core/ports.ts'
import { Fault, isConflict } from '../protocol/faults.ts'
import type { ConversationId, EpochMs } from '../protocol/ids.ts'
import type { StoredCursor } from './cursor.ts'
import {
  CURSORS,
  connectedTo,
  emptied,
  headOf,
  ignoreConflict,
  isOf,
  isTorn,
  NEVER,
  ORIGINS,
  ORIGINS_KEPT_SECONDS,
  partitionOf,
  placesOf,
  rankOf,
  SESSIONS,
  type SessionId,
  type SessionRow,
  sessionKey,
  WILL_KEPT_MS,
  type Wish,
} from './session-rows.ts'

export interface Opened {
  row: SessionRow
  version: number
  /** The session goes on; its cursors are in storage. */
  resumed: boolean
  /** The client may have had, or even acknowledged, more than that. */
  torn: boolean
}

export interface BeforeOpen {
  /** Hears of a session that is over with this, before it is. */
  ends?: (row: SessionRow) => Promise<void>
  /** It is asked once of each owner. */
  leaves?: Leaves | undefined
}
/** Has the run of another node write what the session of that epoch leaves there; `hasLeft` looks whether it has. */
export type Leaves = (run: string, epoch: number, hasLeft: () => Promise<boolean>) => Promise<void>
/** Of a session that is connected here: still so; with a newer owner, or over; or left, by who took this node for dead. */
export type Standing = 'here' | 'elsewhere' | 'given up'

const PAGE = 500
/** Where the clock stands behind the epoch before, the next one is so much later: room for all that was ranked in it. */
const NEXT_EPOCH_MS = 1_000

export class SessionStore {
  readonly #records: Records
  readonly #scheduler: Scheduler
  readonly #run: string | undefined

  /** `run`: this one of this node, where there are others. */
  constructor({ records, scheduler, run }: { records: Records; scheduler: Scheduler; run?: string | undefined }) {
    this.#records = records
    this.#scheduler = scheduler
    this.#run = run
  }

  /** Mints the next epoch by compare-and-put on the head: of two owners one gets it. */
  async open(id: SessionId, wish: Wish & { clean: boolean }, { ends, leaves }: BeforeOpen = {}): Promise<Opened> {
    for (let left: number | undefined; ; ) {
      const found = await this.#records.get(SESSIONS, partitionOf(id), id.clientId)
      const other = found && this.#otherOf(found.row)
      if (leaves && other !== undefined && found && found.row.epoch !== left) {
        left = found.row.epoch
        await leaves(other, left, () => this.#hasLeft(found.row))
        continue
      }
      const alive = found && (found.row.expiresAt === undefined || found.row.expiresAt > this.#scheduler.now())
      const resumed = alive === true && !wish.clean && found.row.expirySeconds > 0
      if (found && !resumed) await ends?.(found.row)
      const epoch = Math.max((found?.row.epoch ?? 0) + NEXT_EPOCH_MS, this.#scheduler.now())
      const row = headOf(id, epoch, wish, this.#run, resumed ? found.row : undefined)
      const version = found?.version ?? 0
      try {
        await this.#records.write([put(SESSIONS, partitionOf(id), id.clientId, row, version)])
        // What it published stays: also a clean start may repeat it.
        if (found && !resumed) await this.forget(row, epoch)
        return { row, version: version + 1, resumed, torn: resumed && isTorn(found.row) }
      } catch (thrown) {
        // Another connection of the same session came first: look again.
        if (!isConflict(thrown)) throw thrown
      }
    }
  }

  /** The run of another node that it is connected to. */
  #otherOf({ expiresAt, run }: SessionRow): string | undefined {
    return expiresAt === undefined && run !== this.#run ? run : undefined
  }

  async #hasLeft({ epoch, ...id }: SessionRow): Promise<boolean> {
    const found = await this.#records.get(SESSIONS, partitionOf(id), id.clientId)
    return found?.row.epoch !== epoch || this.#otherOf(found.row) === undefined
  }

  /** Head and cursors in one write. @throws Fault `conflict`: the session has a newer owner. */
  async save(row: SessionRow, version: number, cursors: Change[]): Promise<void> {
    await this.#records.write([put(SESSIONS, partitionOf(row), row.clientId, row, version), ...cursors])
  }

  /** Cursors only; a crash may lose it, and then repeats some entries. @throws Fault `conflict`: as `save`. */
  async flush(id: SessionId, version: number, cursors: Change[]): Promise<void> {
    await this.#records.write([check(SESSIONS, partitionOf(id), id.clientId, version), ...cursors], { durable: false })
  }

  /** Where each session is by now. */
  async standing(rows: readonly Readonly<SessionRow>[]): Promise<Standing[]> {
    const places = rows.map(row => ({ partition: partitionOf(row), key: row.clientId }))
    const found = await this.#records.getMany(SESSIONS, places)
    return rows.map((row, nth) => {
      const head = found[nth]?.row
      if (!head || head.epoch > row.epoch) return 'elsewhere'
      return head.expiresAt === undefined ? 'here' : 'given up'
    })
  }

  /**
   * The version of the head, for its owner, who does not know whether it was written, or whether another node took this one for
   * dead and gave the session up, which is taken back. @throws Fault `conflict`: as `save`.
   */
  async claim(row: SessionRow): Promise<number> {
    const found = await this.#records.get(SESSIONS, partitionOf(row), row.clientId)
    if (found?.row.epoch !== row.epoch) throw new Fault('conflict')
    if (found.row.expiresAt === undefined) return found.version
    await this.save(row, found.version, [])
    return found.version + 1
  }

  /**
   * The session is over: nothing of it stays, and no power cut leaves its positions to a later one of the name. Where its epoch is
   * ahead of the clock the head stays until then: storage remembers the ranks of what was removed, and takes no lower ones.
   */
  async end(row: SessionRow, version: number): Promise<void> {
    const key = sessionKey(row)
    await this.#purge(ORIGINS, key, row.epoch + 1)
    const rows = await this.#records.scan(CURSORS, key, { limit: PAGE })
    const gone = rows.map(({ partition, key, version }) => removeRanked(CURSORS, partition, key, version))
    if (row.epoch > this.#scheduler.now()) await this.save(emptied(row, row.epoch + NEXT_EPOCH_MS), version, gone)
    else await this.#records.write([remove(SESSIONS, partitionOf(row), row.clientId, version), ...gone])
    if (rows.length === PAGE) await this.forget(row, row.epoch + 1)
  }

  /** Positions of sessions of the name before that epoch: nobody believes them, and they are gone sooner or later. */
  async forget(id: SessionId, epoch: number): Promise<void> {
    await this.#purge(CURSORS, sessionKey(id), epoch).catch(() => {})
  }

  async cursor(of: SessionRow, conversation: ConversationId): Promise<StoredCursor | undefined> {
    const row = (await this.#records.get(CURSORS, sessionKey(of), conversation))?.row
    return row && isOf(of, row) ? row : undefined
  }

  /** All cursors of a session. */
  async cursors(of: SessionRow): Promise<Map<string, StoredCursor>> {
    const key = sessionKey(of)
    const all = new Map<string, StoredCursor>()
    let after: string | undefined
    do {
      const page = await this.#records.scan(CURSORS, key, { limit: PAGE, ...(after !== undefined && { after }) })
      for (const { key: conversation, row } of page) if (isOf(of, row)) all.set(conversation, row)
      after = page.length === PAGE ? page.at(-1)?.cursor : undefined
    } while (after !== undefined)
    return all
  }

  /** When a session that ends its connection now expires. */
  expiresAt(expirySeconds: number): EpochMs {
    return expirySeconds === NEVER ? Number.MAX_SAFE_INTEGER : this.#scheduler.now() + expirySeconds * 1000
  }

  /** Where sessions of an index are looked for. */
  places(index: string): string[] {
    return placesOf(index, this.#run)
  }

  /** Sessions that a process left connected when it ended are disconnected from now on; their wills wait for `graceMs`. */
  async recover(graceMs: number, run = this.#run): Promise<void> {
    for (const place of connectedTo(run)) await this.#recoverOf(place, graceMs)
  }

  async #recoverOf(place: string, graceMs: number): Promise<void> {
    for (;;) {
      const page = await this.#records.scan(SESSIONS, place, { index: 'connected', limit: PAGE })
      const ended = page.map(({ row, version }) =>
        this.save(this.#ended(row, graceMs), version, []).catch(ignoreConflict),
      )
      await Promise.all(ended)
      if (page.length < PAGE) return
    }
  }

  #ended(row: SessionRow, graceMs: number): SessionRow {
    const expiresAt = this.expiresAt(row.expirySeconds || ORIGINS_KEPT_SECONDS)
    const ended: SessionRow = { ...row, torn: true, expiresAt }
    if (!row.will) return ended
    const willAt = this.#scheduler.now() + Math.max(row.will.delayMs, graceMs)
    return { ...ended, willAt, expiresAt: Math.max(expiresAt, willAt + WILL_KEPT_MS) }
  }

  /** Rows that were ranked before that epoch. */
  async #purge<Row>(rows: Table<Row>, key: string, epoch: number): Promise<void> {
    let after: string | undefined
    do {
      const page = await this.#records.scan(rows, key, { limit: PAGE, ...(after !== undefined && { after }) })
      const old = page.filter(({ version }) => version < rankOf(epoch, 0))
      const gone = old.map(row => removeRanked(rows, row.partition, row.key, row.version))
      if (gone.length > 0) await this.#records.write(gone, { durable: false })
      after = page.length === PAGE ? page.at(-1)?.cursor : undefined
    } while (after !== undefined)
  }
}
