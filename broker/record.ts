/** The record of a connected session: what of it is written, and when. One write at a time, each on top of the one before. */
import { type Change, putRanked, removeRanked, type Scheduler } from '../core/ports.ts'
import { isConflict } from '../protocol/faults.ts'
import type { ConversationId, EpochMs } from '../protocol/ids.ts'
import type { Cursor, StoredCursor } from './cursor.ts'
import type { StoredFilter } from './filters.ts'
import { CURSORS, ORIGINS_KEPT_SECONDS, rankOf, type SessionRow, sessionKey, WILL_KEPT_MS } from './session-rows.ts'
import type { Opened, SessionStore } from './sessions.ts'

interface Needs {
  store: SessionStore
  scheduler: Scheduler
  failed(where: string, error: unknown): void
  /** The session has a newer owner. */
  lost(): void
  /** The server ends: what cannot be written now is not written. */
  stopping(): boolean
  /** There are other nodes: storage is one that they share, and a write is dear. */
  others: boolean
}

/** How a connection ended. */
export interface Ending {
  /** The session's life from now on, in seconds; 0 ends it. */
  expirySeconds: number
  /** The client may come back and repeat what it published. */
  mayRepeat: boolean
  /** When the will that is left is told; absent: there is none to tell. */
  willAt?: EpochMs | undefined
  /** What it leaves of what it published; asked again where it cannot be known yet. */
  origins(): Promise<Change[]>
}

/** Cursors that moved are written this much later, in one batch: docs/decisions/positions.md. */
const FLUSH_MS = 200
const SHARED_FLUSH_MS = 2_000
/** Pauses between tries to write what a connection leaves; the last one again and again. */
const RETRY_MS = [50, 200, 1_000, 5_000]
/** Positions in one write. */
const AT_ONCE = 5_000
/** Tries when the server ends, with the first pauses between them: storage may have come back just now. */
const LAST_TRIES = 4

export class SessionRecord {
  readonly #needs: Needs
  readonly #key: string
  #row: SessionRow
  #version: number
  #moved = new Set<Cursor>()
  #cancelFlush: (() => void) | undefined
  #writes: Promise<void> = Promise.resolve()
  #lost = false
  /** Counts what was ranked. */
  #ranked = 0
  #closed = false
  /** A write has failed, and may be there all the same. */
  #unsure = false
  /** Ends the pause before what the connection left is tried again. */
  #endPause: (() => void) | undefined
  /** Positions that it began with, of a session that ends with this connection. */
  #begun: Promise<Map<string, StoredCursor>> | undefined
  #fails: (() => void)[] = []

  constructor({ row, version }: Opened, needs: Needs) {
    this.#row = row
    this.#version = version
    this.#key = sessionKey(row)
    this.#needs = needs
  }

  get row(): Readonly<SessionRow> {
    return this.#row
  }
  /** Whether it outlives its connection. What does not is not written while it is connected. */
  get kept(): boolean {
    return this.#row.expirySeconds > 0
  }

  /** Positions in storage, by conversation, those in conversations that the member has left included. */
  cursors(): Promise<Map<string, StoredCursor>> {
    if (this.#begun) return this.#begun
    // What began without filters has been nowhere.
    const isNew = !this.kept && this.#row.filters.length === 0
    const read = isNew ? Promise.resolve(new Map()) : this.#needs.store.cursors(this.#row)
    if (this.kept) return read
    this.#begun = read
    read.catch(() => {
      this.#begun = undefined
    })
    return read
  }
  async cursor(conversation: ConversationId): Promise<StoredCursor | undefined> {
    return this.kept ? this.#needs.store.cursor(this.#row, conversation) : (await this.cursors()).get(conversation)
  }

  /** Written before long; a crash before that repeats some entries. */
  moved(cursor: Cursor): void {
    if (!this.kept || this.#lost || this.#closed) return
    this.#moved.add(cursor)
    const { scheduler, others } = this.#needs
    this.#cancelFlush ??= scheduler.after(others ? SHARED_FLUSH_MS : FLUSH_MS, () => this.#flush())
  }

  #flush(): void {
    this.#cancelFlush = undefined
    this.#write().catch(error => {
      this.#needs.failed('flush', error)
      for (const cursor of this.#moved) this.moved(cursor)
    })
  }

  /** Filters and cursors; durable when it resolves. What comes behind the end of the connection changes nothing. */
  async save(filters: StoredFilter[], gone: readonly ConversationId[] = []): Promise<void> {
    if (!this.kept || this.#closed) return
    this.#row = { ...this.#row, filters }
    await this.#write(this.#row, gone)
  }

  /** What the next connection needs; or nothing stays of a session that ends with this one. */
  async close(ending: Ending, left: Pick<SessionRow, 'inFlight' | 'torn'>): Promise<void> {
    this.#closed = true
    this.#cancelFlush?.()
    const { store } = this.#needs
    const { will, ...row } = this.#row
    const willIsLeft = will !== undefined && ending.willAt !== undefined
    if (ending.expirySeconds === 0 && !ending.mayRepeat && !willIsLeft) {
      await this.#surely(() => this.#inTurn(() => store.end(this.#row, this.#version)))
      return
    }
    const { expirySeconds } = ending
    const expiresAt = Math.max(
      store.expiresAt(expirySeconds || (ending.mayRepeat ? ORIGINS_KEPT_SECONDS : 0)),
      willIsLeft ? (ending.willAt as number) + WILL_KEPT_MS : 0,
    )
    const ended = {
      ...row,
      ...left,
      expirySeconds,
      expiresAt,
      ...(willIsLeft && { will, willAt: ending.willAt as number }),
    }
    await this.#surely(() => this.#write(ended, [], ending.origins))
  }

  /** Has what the connection left written now; resolves when that fails. */
  unwritten(): Promise<void> {
    this.#endPause?.()
    return new Promise(resolve => this.#fails.push(resolve))
  }

  /** Tried until storage takes it, or the session has a newer owner: otherwise the next connection repeats what this one had. */
  async #surely(write: () => Promise<void>): Promise<void> {
    const { scheduler, failed, stopping } = this.#needs
    for (let failures = 0, last = 0; ; failures++) {
      try {
        return await write()
      } catch (thrown) {
        if (stopping() && ++last === 1) failures = 0
        // It is the newer owner's to write.
        if (this.#lost) return
        if (last >= LAST_TRIES) throw thrown
        failed('close', thrown)
        for (const tell of this.#fails.splice(0)) tell()
        const delay = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] as number
        await new Promise<void>(resolve => {
          this.#endPause = resolve
          scheduler.after(delay, resolve)
        })
      }
    }
  }

  /** Cursors that moved, and the head if it is given. What a write that failed left is written by the next. */
  #write(head?: SessionRow, gone: readonly ConversationId[] = [], origins?: Ending['origins']): Promise<void> {
    return this.#inTurn(async () => {
      const moved = [...this.#moved]
      this.#moved = new Set()
      const { store } = this.#needs
      const next = (count: number) => moved.slice(0, count).map(cursor => this.#put(cursor))
      try {
        for (; moved.length > AT_ONCE; moved.splice(0, AT_ONCE))
          await store.flush(this.#row, this.#version, next(AT_ONCE))
        const cursors = next(AT_ONCE)
        const removed = gone.map(conversation => removeRanked(CURSORS, this.#key, conversation, this.#nextRank()))
        const left = origins ? await origins() : []
        if (head) await store.save(head, this.#version++, [...cursors, ...removed, ...left])
        else await store.flush(this.#row, this.#version, cursors)
      } catch (thrown) {
        // Before those that moved meanwhile: of two in one conversation the later one is to stand.
        this.#moved = new Set([...moved, ...this.#moved])
        throw thrown
      }
    })
  }

  #put(cursor: Cursor): Change {
    const { epoch } = this.#row
    return putRanked(CURSORS, this.#key, cursor.conversation, cursor.stored(epoch), this.#nextRank())
  }
  #nextRank(): number {
    return rankOf(this.#row.epoch, ++this.#ranked)
  }

  /** Written on top of what is there, also where another node has given the session up. @throws Fault `conflict`: as `save`. */
  claim(): Promise<void> {
    this.#unsure = true
    return this.#inTurn(async () => {})
  }

  #inTurn(write: () => Promise<void>): Promise<void> {
    const turn = this.#writes.then(async () => {
      try {
        await this.#owned(write).catch(thrown => {
          if (!isConflict(thrown)) throw thrown
          // It need not be a newer owner's: who took this node for dead has written the head, too.
          return this.#owned(write)
        })
      } catch (thrown) {
        if (isConflict(thrown) && !this.#lost) {
          this.#lost = true
          this.#needs.lost()
        }
        throw thrown
      }
    })
    this.#writes = turn.catch(() => {})
    return turn
  }

  async #owned(write: () => Promise<void>): Promise<void> {
    try {
      if (this.#unsure) this.#version = await this.#needs.store.claim(this.#row)
      this.#unsure = false
      await write()
    } catch (thrown) {
      // Written or not is unknown after most failures.
      this.#unsure = true
      throw thrown
    }
  }
}
