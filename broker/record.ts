/** The record of a connected session: what of it is written, and when. One write at a time, each on top of the one before. */
import { type Change, put, type Scheduler } from '../core/ports.ts'
import type { EpochMs } from '../protocol/ids.ts'
import type { Cursor } from './cursor.ts'
import type { StoredFilter } from './filters.ts'
import {
  CURSORS,
  type Opened,
  ORIGINS_KEPT_SECONDS,
  type SessionId,
  type SessionRow,
  type SessionStore,
  type StoredFlight,
  sessionKey,
  WILL_KEPT_MS,
} from './sessions.ts'

interface Needs {
  store: SessionStore
  scheduler: Scheduler
  failed(where: string, error: unknown): void
  /** The session has a newer owner. */
  lost(): void
}

/** How a connection ended. */
export interface Ending {
  /** The session's life from now on, in seconds; 0 ends it. */
  expirySeconds: number
  /** The client may come back and repeat what it published. */
  mayRepeat: boolean
  /** When the will that is left is told; absent: there is none to tell. */
  willAt?: EpochMs | undefined
}

/** Cursors that moved are written this much later, in one batch. */
const FLUSH_MS = 200

export class SessionRecord {
  readonly #needs: Needs
  readonly #key: string
  #row: SessionRow
  #version: number
  #moved = new Set<Cursor>()
  #cancelFlush: (() => void) | undefined
  #writes: Promise<void> = Promise.resolve()
  #lost = false

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

  /** Written before long; a crash before that repeats some entries. */
  moved(cursor: Cursor): void {
    if (!this.kept || this.#lost) return
    this.#moved.add(cursor)
    this.#cancelFlush ??= this.#needs.scheduler.after(FLUSH_MS, () => this.#flush())
  }

  #flush(): void {
    this.#cancelFlush = undefined
    const { store, failed } = this.#needs
    const moved = this.#moved
    this.#inTurn(() => store.flush(this.#id, this.#version, this.#takeMoved())).catch(error => {
      failed('flush', error)
      for (const cursor of moved) this.moved(cursor)
    })
  }

  /** Filters and cursors; durable when it resolves. */
  async save(filters: StoredFilter[], more: Change[] = []): Promise<void> {
    if (!this.kept) return
    await this.#inTurn(() => {
      this.#row = { ...this.#row, filters }
      return this.#needs.store.save(this.#row, this.#version++, [...this.#takeMoved(), ...more])
    })
  }

  /** What the next connection needs; or nothing stays of a session that ends with this one. */
  async close(ending: Ending, filters: StoredFilter[], inFlight: StoredFlight[]): Promise<void> {
    this.#cancelFlush?.()
    const { store } = this.#needs
    const { will, ...row } = this.#row
    const willIsLeft = will !== undefined && ending.willAt !== undefined
    if (ending.expirySeconds === 0 && !ending.mayRepeat && !willIsLeft) {
      await this.#inTurn(() => store.end(this.#id, this.#version))
      return
    }
    const { expirySeconds } = ending
    const expiresAt = Math.max(
      store.expiresAt(expirySeconds || (ending.mayRepeat ? ORIGINS_KEPT_SECONDS : 0)),
      willIsLeft ? (ending.willAt as number) + WILL_KEPT_MS : 0,
    )
    const ended = {
      ...row,
      filters,
      inFlight,
      expirySeconds,
      expiresAt,
      ...(willIsLeft && { will, willAt: ending.willAt as number }),
    }
    await this.#inTurn(() => store.save(ended, this.#version++, this.#takeMoved()))
  }

  get #id(): SessionId {
    return this.#row
  }

  #takeMoved(): Change[] {
    const moved = this.#moved
    this.#moved = new Set()
    return [...moved].map(cursor => put(CURSORS, this.#key, cursor.conversation, cursor.stored(this.#row.epoch)))
  }

  #inTurn(write: () => Promise<void>): Promise<void> {
    const turn = this.#writes.then(write).catch((thrown: { code?: string }) => {
      if (thrown.code === 'conflict') {
        this.#lost = true
        this.#needs.lost()
      }
      throw thrown
    })
    this.#writes = turn.catch(() => {})
    return turn
  }
}
