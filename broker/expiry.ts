/** Sessions that nobody is connected to: their wills when the delay is over, and their ends. */
import { Due } from '../core/due.ts'
import type { Found, Records, Scheduler } from '../core/ports.ts'
import {
  emptied,
  ignoreConflict,
  ORIGINS,
  ORIGINS_KEPT_SECONDS,
  partitionOf,
  SESSIONS,
  type SessionRow,
  sessionKey,
  WILL_KEPT_MS,
} from './session-rows.ts'
import type { SessionStore } from './sessions.ts'

interface Needs {
  records: Records
  scheduler: Scheduler
  store: SessionStore
}

const PAGE = 500

export class Expiry {
  readonly #needs: Needs
  readonly #wills: Due<SessionRow>[]
  readonly #ends: Due<SessionRow>[]

  constructor(needs: Needs) {
    this.#needs = needs
    const lookIn = (index: string) => needs.store.places(index).map(place => new Due(SESSIONS, index, needs, place))
    this.#wills = lookIn('wills')
    this.#ends = lookIn('ends')
  }

  /**
   * Has wills told whose time has come, a page of each place; how many are done with. A will is not told where, right before that, its
   * client is found to have come back. One that cannot be told waits, and the others not for it.
   */
  async tellWills(tell: (row: SessionRow) => Promise<void>, failed: (error: unknown) => void): Promise<number> {
    let done = 0
    for await (const found of pages(this.#wills)) {
      try {
        if (await this.#stands(found)) await tell(found.row)
        await this.#told(found)
        done++
      } catch (error) {
        failed(error)
      }
    }
    return done
  }

  async #stands({ row, version }: Found<SessionRow>): Promise<boolean> {
    const found = await this.#needs.records.get(SESSIONS, partitionOf(row), row.clientId)
    return found?.version === version
  }

  async #told({ row, version }: Found<SessionRow>): Promise<void> {
    const { will: _will, willAt: _willAt, ...rest } = row
    await this.#needs.store.save(rest, version, []).catch(ignoreConflict)
  }

  /** Removes what has expired, a page of each place; how many. */
  async sweep(): Promise<number> {
    let count = 0
    for await (const { row, version } of pages(this.#ends)) {
      await this.#expire(row, version).catch(ignoreConflict)
      count++
    }
    return count
  }

  /** What it published is known for as long as that of a session that ended with its connection; its will until it is told. */
  async #expire(row: SessionRow, version: number): Promise<void> {
    const { scheduler, records, store } = this.#needs
    const now = scheduler.now()
    const { will, willAt, expirySeconds } = row
    const [published] = expirySeconds > 0 ? await records.scan(ORIGINS, sessionKey(row), { limit: 1 }) : []
    const knownUntil = published ? (row.expiresAt ?? 0) + (ORIGINS_KEPT_SECONDS - expirySeconds) * 1000 : now
    const isLeft = will !== undefined && willAt !== undefined
    if (knownUntil <= now && !isLeft) return store.end(row, version)
    const expiresAt = isLeft ? Math.max(knownUntil, now + WILL_KEPT_MS) : knownUntil
    await store.save({ ...emptied(row, expiresAt), ...(isLeft && { will, willAt }) }, version, [])
    await store.forget(row, row.epoch + 1)
  }
}

async function* pages(places: readonly Due<SessionRow>[]): AsyncGenerator<Found<SessionRow>> {
  for (const place of places) yield* await place.first(PAGE)
}
