/** Writes of records: one home by one conditional batch, several by a decision; ranked rows beside them, as they come. */
import type { Change, Clock } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import {
  at,
  CELL,
  type Cell,
  cellOf,
  fenceCell,
  holdCell,
  lockCell,
  markApplied,
  nameOf,
  newToken,
  type Place,
  placeOf,
  readCell,
  setCell,
} from './cells.ts'
import { type DecidedAt, type Decisions, type Lock, newLock } from './decisions.ts'
import { dropEntry, putEntry } from './places.ts'
import { byHome, planOf, type Step } from './plan.ts'
import { chunks, writeRanked } from './ranked.ts'
import type { Redo } from './redo.ts'
import type { Ring, Statement } from './ring.ts'

interface Needs {
  ring: Ring
  clock: Clock
  decisions: Decisions
  redo: Redo
  /** Resolves after so many milliseconds. */
  pause: (ms: number) => Promise<void>
  random: () => number
}

/** Another writer came first; the rows are read again. */
const ATTEMPTS = 60
const PAUSE_MS = 5
const MAX_PAUSE_MS = 200
/** Writes that are done but for what nobody waits for; of more, each is waited for. */
const TIDYING = 200
/** Tries to keep away a write whose answer was lost. */
const FENCES = 3
/** Keys of one partition that are read by one query. */
const KEYS_AT_ONCE = 100

export class Writer {
  readonly #needs: Needs
  readonly #tidying = new Set<Promise<void>>()

  constructor(needs: Needs) {
    this.#needs = needs
  }

  /** @throws Fault `conflict` · `log-unavailable` */
  async write(changes: readonly Change[]): Promise<void> {
    const ranked = changes.filter(({ rank }) => rank !== undefined)
    const versioned = changes.filter(({ rank }) => rank === undefined)
    if (versioned.length === 0) return this.writeRanked(ranked)
    for (let attempt = 1; ; attempt++) {
      const steps = await this.plan(versioned)
      const homes = byHome(steps)
      if (steps.every(({ next }) => !next)) return this.writeRanked(ranked)
      await this.putEntries(steps)
      const done = homes.length === 1 ? await this.#setHome(steps, ranked) : await this.#setHomes(homes, ranked)
      if (done) {
        await this.finish(steps, ranked)
        return
      }
      await this.again(attempt)
    }
  }

  /** Reads the rows and says what becomes of them. @throws Fault `conflict` */
  async plan(versioned: readonly Change[]): Promise<Step[]> {
    for (let attempt = 1; ; attempt++) {
      const cells = await this.read(versioned.map(placeOf))
      if (cells) return planOf(versioned, cells, this.#needs.clock.now())
      await this.again(attempt)
    }
  }

  async again(attempt: number): Promise<void> {
    if (attempt >= ATTEMPTS)
      throw new Fault('log-unavailable', {}, { cause: new Error('Too many writers of one row.') })
    const { pause, random } = this.#needs
    await pause(Math.min(PAUSE_MS * 2 ** Math.min(attempt, 6), MAX_PAUSE_MS) * (0.5 + random()))
  }

  /** Rows as they are; nothing while one of them is set aside. */
  async read(places: readonly Place[]): Promise<Map<string, Cell> | undefined> {
    const { ring, decisions } = this.#needs
    const wanted = new Map(places.map(place => [nameOf(place), place]))
    const groups = new Map<string, Place[]>()
    for (const place of wanted.values()) {
      const of = `${place.home}\0${place.table.name}\0${place.partition}`
      const group = groups.get(of)
      if (group) group.push(place)
      else groups.set(of, [place])
    }
    const parts = [...groups.values()].flatMap(group => chunks(group, KEYS_AT_ONCE))
    const cells = new Map<string, Cell>()
    const aside = new Map<string, [Place, string][]>()
    await ring.each(parts, async part => {
      for (const [place, cell] of await this.#readPart(part)) {
        cells.set(nameOf(place), cell)
        if (cell.lock === undefined) continue
        const of = `${place.home}\0${(JSON.parse(cell.lock) as Lock).t}`
        const rows = aside.get(of)
        if (rows) rows.push([place, cell.lock])
        else aside.set(of, [[place, cell.lock]])
      }
    })
    await ring.each([...aside.values()], rows => decisions.resolve(rows))
    return aside.size === 0 ? cells : undefined
  }

  async #readPart(part: readonly Place[]): Promise<[Place, Cell][]> {
    const { ring } = this.#needs
    const [first] = part as [Place]
    if (part.length === 1) return [[first, cellOf((await ring.read(...readCell(first)))[0])]]
    const rows = await ring.read(
      `SELECT key, ${CELL} FROM records WHERE home = ? AND tbl = ? AND partition = ? AND key IN ?`,
      [...at(first).slice(0, 3), part.map(({ key }) => key)],
    )
    const byKey = new Map(rows.map(row => [row.key, row]))
    return part.map(place => [place, cellOf(byKey.get(place.key))])
  }

  // ---- one home ----

  async #setHome(steps: readonly Step[], ranked: readonly Change[]): Promise<boolean> {
    const token = newToken()
    const redo = this.#needs.redo.textOf(ranked)
    const bearer = steps.find(({ next }) => next)
    if (bearer?.next && redo) bearer.next.redo = redo
    const statements = steps.map(({ place, before, next }) =>
      next ? setCell(place, before, next, token) : holdCell(place, before),
    )
    return this.#set(statements, () => this.#isSet(bearer as Step, token))
  }

  /** Of a write whose answer was lost: it was made, or never will be. @throws Fault `log-unavailable`: others wrote since. */
  async #isSet({ place, before }: Step, token: string): Promise<boolean> {
    const { ring } = this.#needs
    const fence = newToken()
    for (let tries = 1; ; tries++) {
      const found = cellOf((await ring.readSerial(...readCell(place)))[0]).token
      if (found === token) return true
      if (found === fence) return false
      if (found !== before.token || tries > FENCES) throw new Error('What became of a write cannot be told.')
      const { outcome } = await ring.compareAndSet([fenceCell(place, before, fence)])
      if (outcome === 'applied') return false
    }
  }

  /** Whether it was set; where that is unknown, it is looked up. */
  async #set(statements: readonly Statement[], look: () => Promise<boolean>): Promise<boolean> {
    const { outcome, cause } = await this.#needs.ring.compareAndSet(statements)
    if (outcome !== 'unknown') return outcome === 'applied'
    try {
      return await look()
    } catch {
      throw new Fault('log-unavailable', {}, { cause })
    }
  }

  // ---- several homes ----

  async #setHomes(homes: readonly Step[][], ranked: readonly Change[]): Promise<boolean> {
    const lock = newLock()
    const { decisions, redo } = this.#needs
    const bearer = homes.flat().find(({ next }) => next)
    const text = redo.textOf(ranked)
    if (bearer?.next && text) bearer.next.redo = text
    if (!(await this.setAside(homes, lock))) {
      await this.settle(homes, lock, await decisions.settle(lock, 'off'))
      return false
    }
    const outcome = await decisions.settle(lock, 'done')
    await this.settle(homes, lock, outcome)
    return outcome === 'done'
  }

  /** Every row says what it is to become. */
  async setAside(homes: readonly Step[][], lock: Pick<Lock, 't' | 'at'>): Promise<boolean> {
    const { ring } = this.#needs
    const outcomes = await ring.each(homes, async steps => {
      const statements = steps.map(({ place, before, next }) => lockCell(place, before, lockText(lock, next)))
      return this.#set(statements, async () => {
        const [{ place, next }] = steps as [Step]
        const [row] = await ring.readSerial(...readCell(place))
        return cellOf(row).lock === lockText(lock, next)
      })
    })
    return outcomes.every(set => set)
  }

  /** What was set aside becomes what was decided. What cannot now does when it is met. */
  async settle(homes: readonly Step[][], lock: Pick<Lock, 't' | 'at'>, outcome: 'done' | 'off'): Promise<void> {
    const { ring, decisions } = this.#needs
    let isWhole = true
    await ring.each(homes, async steps => {
      const rows = steps.map(({ place, next }) => [place, lockText(lock, next)] as const)
      await decisions.finish(rows, outcome).catch(() => {
        isWhole = false
      })
    })
    if (isWhole) await decisions.forget(lock).catch(() => {})
  }

  // ---- beside the rows ----

  /** Before a row says that it stands there. */
  async putEntries(steps: readonly Step[]): Promise<void> {
    const puts = steps.flatMap(({ gained, next }) => gained.map(entry => ({ entry, stamp: next?.stamp ?? 0 })))
    await this.#needs.ring.each(puts, ({ entry, stamp }) => this.#needs.ring.write([putEntry(entry, stamp)]))
  }

  /** After it: what the write has left to do; whoever reads the row does it, where this does not. */
  async finish(steps: readonly Step[], ranked: readonly Change[]): Promise<void> {
    if (ranked.length > 0) await this.writeRanked(ranked)
    const tidied = this.#tidy(steps, ranked).finally(() => this.#tidying.delete(tidied))
    this.#tidying.add(tidied)
    if (this.#tidying.size > TIDYING) await tidied
  }

  /** Nobody waits for that: a left-over entry of an index is believed by no one, and a redo may be done twice. */
  async #tidy(steps: readonly Step[], ranked: readonly Change[]): Promise<void> {
    const { ring } = this.#needs
    const bearers = ranked.length > 0 ? steps : []
    const applied = bearers.flatMap(({ place, next }) => (next?.redo !== undefined ? [markApplied(place, next)] : []))
    const dropped = steps.flatMap(({ lost, next }) => lost.map(entry => dropEntry(entry, (next?.stamp ?? 1) - 1)))
    await ring.each([...applied, ...dropped], statement => ring.write([statement])).catch(() => {})
  }

  /** Resolves when nothing is left to do behind a write. */
  async tidied(): Promise<void> {
    await Promise.all(this.#tidying)
  }

  /** @throws Fault `log-unavailable` */
  writeRanked(changes: readonly Change[]): Promise<void> {
    return writeRanked(this.#needs.ring, changes)
  }
}

const lockText = (lock: Pick<Lock, 't' | 'at'>, next: Step['next']): string =>
  JSON.stringify({ t: lock.t, at: lock.at, ...(next && { next }) } satisfies Lock & { at: DecidedAt })
