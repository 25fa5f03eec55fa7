/** Whose import is filling a keyspace, and its note: kept beside the settings, changed by compare-and-set alone. */
import { randomBytes } from 'node:crypto'
import { Fault } from '../../protocol/faults.ts'
import { CannotOpen } from '../level/meta.ts'
import type { Ring } from './ring.ts'

/** What lies in `unfinished`. */
interface Claimed {
  holder: string
  note?: string
}

const LOOK = 'SELECT unfinished FROM settings WHERE id = 1'

const unfinished = (keyspace: string) =>
  `What \`im import\` or \`im restore\` began in the keyspace ${keyspace} is not finished: run it again, or drop the keyspace.`

/** @throws CannotOpen: an import is filling it · Fault `log-unavailable` */
export async function mustBeFinished(ring: Ring, keyspace: string): Promise<void> {
  if (await isUnfinished(ring)) throw new CannotOpen(unfinished(keyspace))
}
export async function isUnfinished(ring: Ring): Promise<boolean> {
  const [row] = await ring.read(LOOK, [])
  return typeof row?.unfinished === 'string'
}

export class Claim {
  readonly #ring: Ring
  readonly #keyspace: string
  readonly #holder: string
  #text: string

  private constructor(ring: Ring, keyspace: string, holder: string, text: string) {
    this.#ring = ring
    this.#keyspace = keyspace
    this.#holder = holder
    this.#text = text
  }

  /**
   * Takes over what another began, and holds from then on: the other can note nothing more. @throws CannotOpen: it has data
   * of its own · Fault `log-unavailable`
   */
  static async take(ring: Ring, keyspace: string): Promise<Claim> {
    const [row] = await ring.readSerial(LOOK, [])
    const before = typeof row?.unfinished === 'string' ? row.unfinished : null
    if (before === null) await mustBeEmpty(ring, keyspace)
    const holder = randomBytes(9).toString('base64url')
    const { note } = before === null ? {} : (JSON.parse(before) as Claimed)
    const text = JSON.stringify({ holder, ...(note !== undefined && { note }) } satisfies Claimed)
    const claim = new Claim(ring, keyspace, holder, text)
    await claim.#set(before, text)
    return claim
  }

  get note(): string | undefined {
    return (JSON.parse(this.#text) as Claimed).note
  }

  async put(note: string): Promise<void> {
    const text = JSON.stringify({ holder: this.#holder, note } satisfies Claimed)
    await this.#set(this.#text, text)
    this.#text = text
  }

  /** A server may open it. */
  finish(): Promise<void> {
    return this.#set(this.#text, null)
  }

  async #set(before: string | null, text: string | null): Promise<void> {
    const set = 'UPDATE settings SET unfinished = ? WHERE id = 1 IF unfinished = ?'
    const { outcome, cause } = await this.#ring.compareAndSet([[set, [text, before]]])
    if (outcome === 'applied') return
    const [row] = await this.#ring.readSerial(LOOK, [])
    if ((row?.unfinished ?? null) === text) return
    if (outcome === 'unknown') throw new Fault('log-unavailable', {}, { cause })
    throw new CannotOpen(`Another import is filling the keyspace ${this.#keyspace}: this one ends here.`)
  }
}

async function mustBeEmpty(ring: Ring, keyspace: string): Promise<void> {
  for (const table of ['log', 'records'])
    if ((await ring.read(`SELECT * FROM ${table} LIMIT 1`, [])).length > 0)
      throw new CannotOpen(
        `The keyspace ${keyspace} is there already, with data: set IM_CASSANDRA_KEYSPACE to one that is empty or not there.`,
      )
}
