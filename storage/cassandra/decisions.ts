/**
 * Writes to several homes. Each row is set aside with what it is to become, then one conditional write decides, then the
 * rows become it. Whoever meets a row that is set aside asks how it was decided; what nobody decided for a while is
 * called off, by the same condition. So all of it happens or nothing, whoever dies in between.
 */
import { randomBytes } from 'node:crypto'
import { Fault } from '../../protocol/faults.ts'
import { type Cell, type Next, newToken, type Place, setLocked, unlockCell } from './cells.ts'
import type { Ring, Statement } from './ring.ts'

/** Where it is decided: beside the entry of an append, or in a row of its own. */
export type DecidedAt = { conversation: string; bucket: number } | { id: string }

/** What lies in `lock`. */
export interface Lock {
  t: string
  at: DecidedAt
  /** Absent: only held as it is. */
  next?: Next
}
export const newLock = (at?: Exclude<DecidedAt, { id: string }>): Pick<Lock, 't' | 'at'> => {
  const t = randomBytes(12).toString('base64url')
  return { t, at: at ?? { id: t } }
}

/** A writer that has not decided for so long, as seen from here, does not any more. */
const UNDECIDED_MS = 5_000
const MAX_SEEN = 10_000
const TRIES = 3

/** The condition that decides, as a statement to stand beside others of its partition. */
export function decide({ t, at }: Pick<Lock, 't' | 'at'>, outcome: 'done' | 'off'): Statement {
  if ('id' in at) return ['INSERT INTO decisions (id, outcome) VALUES (?, ?) IF NOT EXISTS', [t, outcome]]
  return [
    'INSERT INTO log (conversation, bucket, seq, name, outcome) VALUES (?, ?, 0, ?, ?) IF NOT EXISTS',
    [at.conversation, at.bucket, `t:${t}`, outcome],
  ]
}
function look({ t, at }: Pick<Lock, 't' | 'at'>): Statement {
  if ('id' in at) return ['SELECT outcome FROM decisions WHERE id = ?', [t]]
  return [
    'SELECT outcome FROM log WHERE conversation = ? AND bucket = ? AND seq = 0 AND name = ?',
    [at.conversation, at.bucket, `t:${t}`],
  ]
}

export class Decisions {
  readonly #ring: Ring
  readonly #monotonic: () => number
  /** When each undecided write was first met. */
  readonly #seen = new Map<string, number>()
  readonly #known = new Map<string, 'done' | 'off'>()

  constructor(ring: Ring, monotonic: () => number) {
    this.#ring = ring
    this.#monotonic = monotonic
  }

  /** How it was decided, as far as it was. */
  async outcome(lock: Pick<Lock, 't' | 'at'>): Promise<'done' | 'off' | undefined> {
    const known = this.#known.get(lock.t)
    if (known) return known
    const [row] = await this.#ring.readSerial(...look(lock))
    return row && this.#know(lock, row.outcome as 'done' | 'off')
  }

  /** What is decided stays so. */
  #know({ t }: Pick<Lock, 't'>, outcome: 'done' | 'off'): 'done' | 'off' {
    this.#seen.delete(t)
    this.#known.set(t, outcome)
    if (this.#known.size > MAX_SEEN) this.#known.delete(this.#known.keys().next().value as string)
    return outcome
  }

  /** Decides. Whether it is done; what is unknown is looked up. @throws Fault `log-unavailable`: unknown still. */
  async settle(lock: Pick<Lock, 't' | 'at'>, wanted: 'done' | 'off'): Promise<'done' | 'off'> {
    for (let tries = 1; ; tries++) {
      const { outcome, cause } = await this.#ring.compareAndSet([decide(lock, wanted)])
      if (outcome === 'applied') return this.#know(lock, wanted)
      const found = await this.outcome(lock)
      if (found) return found
      // What comes late says the same.
      if (tries >= TRIES) throw new Fault('log-unavailable', {}, { cause })
    }
  }

  /**
   * How it was decided, seen by one who waits for it: what nobody has decided for a while is called off. `undefined` while it
   * is too early to tell.
   */
  async decided(lock: Pick<Lock, 't' | 'at'>): Promise<'done' | 'off' | undefined> {
    const outcome = await this.outcome(lock)
    if (outcome) return outcome
    const since = this.#seen.get(lock.t)
    if (since === undefined) {
      this.#seen.set(lock.t, this.#monotonic())
      if (this.#seen.size > MAX_SEEN) this.#seen.delete(this.#seen.keys().next().value as string)
      return undefined
    }
    return this.#monotonic() - since < UNDECIDED_MS ? undefined : this.settle(lock, 'off')
  }

  /** Does what was decided to rows of one home that one write has set aside, as far as it is decided. */
  async resolve(rows: readonly (readonly [Place, string])[]): Promise<void> {
    const [[, text]] = rows as [readonly [Place, string]]
    const outcome = await this.decided(JSON.parse(text) as Lock)
    if (outcome) await this.finish(rows, outcome)
  }

  /** What is decided happens to rows of one home; again changes nothing. @throws Fault `log-unavailable` */
  async finish(rows: readonly (readonly [Place, string])[], outcome: 'done' | 'off', tries = 1): Promise<void> {
    const statements = rows.map(([place, text]) => {
      const { next } = JSON.parse(text) as Lock
      return outcome === 'done' && next ? setLocked(place, text, next, newToken()) : unlockCell(place, text)
    })
    const { outcome: became, cause } = await this.#ring.compareAndSet(statements)
    if (became === 'unknown') {
      if (tries >= TRIES) throw new Fault('log-unavailable', {}, { cause })
      return this.finish(rows, outcome, tries + 1)
    }
    // Somebody else has done it to some of them.
    if (became === 'refused' && rows.length > 1) for (const row of rows) await this.finish([row], outcome)
  }

  /** Nobody asks any more. */
  async forget({ t, at }: Pick<Lock, 't' | 'at'>): Promise<void> {
    if ('id' in at) await this.#ring.compareAndSet([['DELETE FROM decisions WHERE id = ? IF EXISTS', [t]]])
  }
}

/** The row that a reader sees while it is set aside. */
export const decidedCell = (cell: Cell, outcome: 'done' | 'off' | undefined, { next }: Lock): Cell => {
  if (outcome !== 'done' || !next) return cell
  const { json, version, stamp } = next
  return { ...(json !== undefined && { json }), version: json === undefined ? 0 : version, token: cell.token, stamp }
}
