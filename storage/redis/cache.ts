/** The cache on Redis: a hash under each key, whose field without a name is the owner's rank. */
import type { Cache, Cached, MergeOutcome } from '../../core/ports.ts'
import type { Commands } from './commands.ts'

const LIFE_MS = 86_400_000
const MAX_FIELDS = 1_000

export class RedisCache implements Cache {
  readonly #commands: Commands
  readonly #prefix: string

  constructor(commands: Commands, prefix: string) {
    this.#commands = commands
    this.#prefix = `${prefix}c:`
  }

  async merge(key: string, fields: Readonly<Record<string, Uint8Array | string>>, rank: number): Promise<MergeOutcome> {
    const all = Object.entries(fields)
    if (all.length > MAX_FIELDS) throw new RangeError(`At most ${MAX_FIELDS} fields are merged at once.`)
    if (Object.hasOwn(fields, '')) throw new RangeError('A field has a name.')
    const pairs = all.flatMap(([field, value]) => [field, asArgument(value)])
    const kept = await this.#commands.ask(1, client => client.imMerge(this.#prefix + key, rank, LIFE_MS, ...pairs))
    return outcome(kept)
  }

  async read(key: string): Promise<Cached | undefined> {
    const found = await this.#commands.ask(1, client => client.hgetallBuffer(this.#prefix + key))
    const { '': rank, ...fields } = found ?? {}
    return rank && { rank: Number(rank), fields }
  }

  async drop(key: string, rank: number): Promise<MergeOutcome> {
    return outcome(await this.#commands.ask(1, client => client.imDrop(this.#prefix + key, rank, LIFE_MS)))
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

const outcome = (kept: number | undefined): MergeOutcome =>
  kept === undefined ? 'away' : kept === 1 ? 'kept' : 'outranked'

const asArgument = (value: Uint8Array | string) =>
  typeof value === 'string' ? value : Buffer.from(value.buffer, value.byteOffset, value.byteLength)
