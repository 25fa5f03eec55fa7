/**
 * Leases on Redis. A run of a node is a member of one sorted set, whose score is when its lease ends by the clock of Redis.
 * A key is a hash: the member of each node that holds it, and what that node shows. What a member wrote counts while it lives,
 * so a dead node's keys go by one row. A member that lapsed never comes back: the node takes a new one and writes all again.
 */
import type { Holding, Leases, NodeChange } from '../../core/ports.ts'
import { Held } from '../held.ts'
import type { Commands } from './commands.ts'
import { Member, nodeOf, runOf } from './member.ts'
import { Roll } from './roll.ts'

/** Keys in one go. */
const AT_ONCE = 500
/** A key is written again so often, for parts of Redis that were lost unseen, and ends by itself after three times that. */
const AGAIN_MS = 600_000
const KEY_LIFE_MS = 3 * AGAIN_MS
const MAX_ASKED = 10_000
export const LIFE_MS = 15_000
const CLOCK_AGE_MS = 30_000

export class RedisLeases implements Leases {
  readonly #commands: Commands
  readonly #prefix: string
  readonly #living: string
  readonly #lifeMs: number
  readonly #held = new Held()
  readonly #roll: Roll
  readonly #changed = new Set<string>()
  #me: Member
  #isIn = false
  #timer: NodeJS.Timeout | undefined
  #flushing: Promise<void> | undefined
  #renewing: Promise<void> | undefined
  #rotation: Iterator<string> | undefined
  #closed = false
  #startedAfterCrash = false
  /** This machine's clock less that of Redis. */
  #clock: { offsetMs: number; at: number } | undefined

  constructor(commands: Commands, prefix: string, node: string, lifeMs = LIFE_MS) {
    this.#commands = commands
    this.#prefix = `${prefix}h:`
    this.#living = `${prefix}nodes`
    this.#lifeMs = lifeMs
    this.#me = new Member(node)
    this.#roll = new Roll(lifeMs)
    commands.onReady(() => {
      this.#me.renew()
      void this.#renew()
    })
  }

  /** Resolves when this node is among the living, or cannot be now. */
  async open(): Promise<void> {
    const before = await this.#members()
    const { node, run } = this.#me
    this.#startedAfterCrash = before?.some(one => nodeOf(one) === node && runOf(one) !== run) ?? false
    this.#timer = setInterval(() => void this.#renew(), this.#lifeMs / 3)
    this.#timer.unref()
    await this.#renew()
  }

  get healthy(): boolean {
    return this.#isIn && this.#commands.isReady
  }

  /** A run of this name before had not given up its lease when this one began. */
  get startedAfterCrash(): boolean {
    return this.#startedAfterCrash
  }
  /** The other nodes, as of the last renewal. */
  get others(): Set<string> {
    return this.#roll.nodes
  }
  /** Runs of other nodes whose lease ran out while Redis was there. */
  get lost(): number {
    return this.#roll.lost
  }
  /** Of this machine's clock, to that of Redis, when that was compared within 30 s. */
  get clockOffsetMs(): number | undefined {
    return this.#clock && performance.now() - this.#clock.at < CLOCK_AGE_MS ? this.#clock.offsetMs : undefined
  }

  hold(key: string, value: string, rank = 0): () => void {
    const hold = { value, rank }
    this.#held.add(key, hold)
    this.#change(key)
    return () => {
      if (this.#held.remove(key, hold)) this.#change(key)
    }
  }

  async get(keys: readonly string[]): Promise<Holding[][] | undefined> {
    if (keys.length > MAX_ASKED) throw new RangeError(`At most ${MAX_ASKED} keys are asked for at once.`)
    const found = await this.#commands.ask(keys.length, client =>
      Promise.all(keys.map(key => client.hgetall(this.#prefix + key))),
    )
    // Asked after: whatever was read of a living member was written after it came to life.
    const living = found && new Set(await this.#members())
    if (!found || !living || living.size === 0) return undefined
    found.forEach((fields, i) => {
      this.#sweep(
        keys[i] ?? '',
        Object.keys(fields).filter(member => !living.has(member)),
      )
    })
    return found.map(fields => holdings(Object.entries(fields).filter(([member]) => living.has(member))))
  }

  async nodes(): Promise<string[] | undefined> {
    const members = await this.#members()
    return members && [...new Set(members.map(nodeOf))].sort()
  }

  async settled(): Promise<void> {
    while (this.#renewing || this.#flushing) await (this.#renewing ?? this.#flushing)
  }

  onNodes(listener: (change: NodeChange) => void): () => void {
    return this.#roll.follow(listener)
  }

  async #members(): Promise<string[] | undefined> {
    return await this.#commands.ask(1, client => client.imLiving(this.#living))
  }

  /** A lapsed member is never renewed, so what it wrote is dead for good. */
  #sweep(key: string, dead: string[]): void {
    if (dead.length > 0) void this.#commands.ask(1, client => client.hdel(this.#prefix + key, ...dead))
  }

  #change(key: string): void {
    this.#changed.add(key)
    this.#flushing ??= this.#flush()
  }

  /** One renewal at a time; what makes another needful meanwhile is seen by the next. */
  #renew(): Promise<void> {
    const { name } = this.#me
    this.#renewing ??= this.#renewOnce().finally(() => {
      this.#renewing = undefined
      // The connection was replaced meanwhile.
      if (name !== this.#me.name && this.#me.isNew && !this.#closed) void this.#renew()
    })
    return this.#renewing
  }

  async #renewOnce(): Promise<void> {
    const { isNew, name } = this.#me
    const args = [this.#lifeMs, isNew ? 1 : 0]
    const askedAt = Date.now()
    const answer = await this.#commands.ask(1, client => client.imRenew(this.#living, name, ...args))
    if (this.#closed || answer === undefined || name !== this.#me.name) return
    if (answer === null) {
      this.#me.renew()
      this.#isIn = false
      return await this.#renewOnce()
    }
    const [living, lapsed, now] = answer
    this.#isIn = true
    this.#clock = { offsetMs: (askedAt + Date.now()) / 2 - now, at: performance.now() }
    this.#roll.call(living, lapsed, this.#me.run, isNew)
    if (isNew) {
      this.#me.isNew = false
      for (const key of this.#held.keys()) this.#changed.add(key)
    } else this.#refresh()
    if (this.#changed.size > 0 || this.#me.past.length > 0) this.#flushing ??= this.#flush()
  }

  /** Each key has its turn once in ten minutes. */
  #refresh(): void {
    const share = Math.ceil((this.#held.size * this.#lifeMs) / 3 / AGAIN_MS)
    for (let i = 0; i < share; i++) {
      const next = this.#rotation?.next()
      if (next && !next.done) this.#changed.add(next.value)
      else this.#rotation = this.#held.keys()
    }
  }

  /** Writes what changed, a part after the other, until there is no more, or Redis is away: then all is written later. */
  async #flush(): Promise<void> {
    await new Promise(resolve => setImmediate(resolve))
    try {
      while (this.#isWritable && this.#changed.size > 0) await this.#write(first(this.#changed, AT_ONCE))
      if (this.#changed.size === 0) await this.#leavePast()
    } finally {
      // Without a living member nothing is written: all is, as soon as there is one.
      if (!this.#isWritable) this.#changed.clear()
      this.#flushing = this.#changed.size > 0 ? this.#flush() : undefined
    }
  }

  get #isWritable(): boolean {
    return this.healthy && !this.#me.isNew
  }

  async #write(part: string[]): Promise<void> {
    for (const key of part) this.#changed.delete(key)
    const { name, past } = this.#me
    const written = await this.#commands.ask(part.length * 3, client =>
      Promise.all(
        part.flatMap(key => {
          const hold = this.#held.shown(key)
          const at = this.#prefix + key
          const gone = hold ? past : [...past, name]
          return [
            ...(hold ? [client.hset(at, name, `${hold.rank}:${hold.value}`), client.pexpire(at, KEY_LIFE_MS)] : []),
            ...(gone.length > 0 ? [client.hdel(at, ...gone)] : []),
          ]
        }),
      ),
    )
    // Unknown what was written: all again with the next renewal, under a new member.
    if (!written && name === this.#me.name) this.#me.renew()
  }

  /** All is written under the member that lives: the earlier ones of this run end. */
  async #leavePast(): Promise<void> {
    const { past, name, isNew } = this.#me
    if (past.length === 0 || isNew) return
    const left = await this.#commands.ask(1, client => client.zrem(this.#living, ...past))
    if (left !== undefined && name === this.#me.name) this.#me.past = []
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.settled()
    await this.#commands.ask(1, client => client.zrem(this.#living, this.#me.name, ...this.#me.past))
  }
}

function first<T>(all: Iterable<T>, count: number): T[] {
  const some: T[] = []
  for (const one of all) if (some.push(one) === count) break
  return some
}

/** One of a node, the highest rank first. */
function holdings(fields: [string, string][]): Holding[] {
  const all = fields.map(([member, shown]) => {
    const colon = shown.indexOf(':')
    return { node: nodeOf(member), value: shown.slice(colon + 1), rank: Number(shown.slice(0, colon)), member }
  })
  all.sort((a, b) => b.rank - a.rank || (a.member < b.member ? 1 : -1))
  const seen = new Set<string>()
  return all
    .filter(({ node }) => !seen.has(node) && seen.add(node))
    .map(({ node, value, rank }) => ({ node, value, rank }))
}
