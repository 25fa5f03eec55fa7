/**
 * The only writer of a database. Transactions queue; what has come together is decided in order, each upon what those
 * before it wrote, and written as one batch with one fsync. What arrives meanwhile goes into the next.
 */
import type { Clock } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { StorageObserver } from '../open.ts'
import type { Chain } from './chain.ts'
import type { DiskGuard } from './disk.ts'
import { type Engine, unavailable, type Write } from './engine.ts'
import { Rows } from './overlay.ts'
import { blank, seal } from './rows.ts'

export interface Transaction {
  /** About as many bytes as it writes. */
  readonly bytes: number
  readonly durable: boolean
  /** Rows to read beforehand, as far as they are known and not in memory. */
  keys(): readonly string[]
  /** Decides what can be without the rows it returns the keys of; they are read before `decide`. @throws Fault: refused */
  prepare?(rows: Rows): readonly string[]
  /** Reads and writes rows. A throw takes back what it wrote. @throws Fault: refused */
  decide(rows: Rows): void
  /** What it wrote, and all before it, is durable. */
  committed(): void
  refused(fault: Fault): void
}

/** Keeps things in memory that a whole batch shares. */
export interface Participant {
  /** Last writes of a batch. */
  beforeWrite(rows: Rows): void
  /** The batch is durable; its transactions are told next. */
  afterWrite(): void
  /** What is on disk is unknown: forget what is in memory. */
  failed(): void
  /** What is on disk is known again, and nothing is written until this resolves. */
  recovered(): Promise<void>
}

interface Needs {
  engine: Engine
  chain: Chain
  disk: Pick<DiskGuard, 'mayOpen'>
  clock: Clock
  /** Runs after what is at hand now. */
  soon: (run: () => void) => void
  fsync: boolean
  observer: Partial<StorageObserver>
}

const BATCH_TRANSACTIONS = 1_000
const BATCH_BYTES = 8 * 1024 * 1024
const QUEUE_TRANSACTIONS = 100_000
const QUEUE_BYTES = 256 * 1024 * 1024
/** Fewer keys than this are read at once, in this thread. */
const FEW_KEYS = 32
const REOPEN_EVERY_MS = 500
/** Written to learn whether writes succeed again. */
const PROBE = 'p'

export class Committer {
  readonly #needs: Needs
  readonly participants: Participant[] = []
  #queue: Transaction[] = []
  #queueBytes = 0
  #running: Promise<void> | undefined
  #closed = false
  /** The last write failed. */
  #failing = false
  /** The engine is to be opened anew before the next write. */
  #stale = false
  #reopenedAt = Number.NEGATIVE_INFINITY
  #generation = 0

  constructor(needs: Needs) {
    this.#needs = needs
  }

  /**
   * Moves with every batch that is written, fails, or turns out at the opening anew to be there after all: what was read
   * from disk meanwhile may be older than what is there.
   */
  get generation(): number {
    return this.#generation
  }

  /** Resolves when writes succeed; after one that failed, by trying another. @throws Fault `log-unavailable` */
  ready(): Promise<void> {
    if (!this.#failing && !this.#closed) return Promise.resolve()
    return new Promise((committed, refused) => {
      const decide = (rows: Rows) => rows.put(PROBE, seal(PROBE, blank(0)))
      this.add({ bytes: 0, durable: true, keys: () => [], decide, committed, refused })
    })
  }

  /** Nothing more is written. */
  get closed(): boolean {
    return this.#closed
  }

  add(transaction: Transaction): void {
    const full = this.#queue.length >= QUEUE_TRANSACTIONS || this.#queueBytes >= QUEUE_BYTES
    if (this.#closed || full) {
      const why = this.#closed ? 'The storage is closed.' : 'Too many writes wait.'
      transaction.refused(new Fault('log-unavailable', {}, { cause: new Error(why) }))
      return
    }
    this.#queue.push(transaction)
    this.#queueBytes += transaction.bytes
    this.#running ??= this.#run()
  }

  /** Refuses what comes from now on, and waits for what came before. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      // Whoever was told of the last batch gets to add to the next.
      await new Promise<void>(resolve => this.#needs.soon(resolve))
      await this.#commit(this.#take())
    }
    this.#running = undefined
  }

  #take(): Transaction[] {
    let count = 0
    let bytes = 0
    while (count < this.#queue.length && count < BATCH_TRANSACTIONS && bytes < BATCH_BYTES)
      bytes += this.#queue[count++]?.bytes ?? 0
    this.#queueBytes -= bytes
    if (count === this.#queue.length) {
      const all = this.#queue
      this.#queue = []
      return all
    }
    return this.#queue.splice(0, count)
  }

  async #commit(batch: Transaction[]): Promise<void> {
    const startedAt = this.#needs.clock.now()
    let outcome: (Fault | undefined)[]
    try {
      if (this.#stale) await this.#reopen()
      const rows = new Rows(this.#needs.engine)
      await rows.load(
        batch.flatMap(transaction => transaction.keys() as string[]),
        FEW_KEYS,
      )
      outcome = await this.#decide(batch, rows)
      await this.#write(batch, rows, outcome, startedAt)
    } catch (cause) {
      this.#fail(batch, cause)
      return
    }
    // In one go with what is told: nobody reads up to an end whose entries are not in memory yet.
    for (const participant of this.participants) participant.afterWrite()
    batch.forEach((transaction, at) => {
      const fault = outcome[at]
      this.#guarded(() => (fault ? transaction.refused(fault) : transaction.committed()))
    })
  }

  async #decide(batch: Transaction[], rows: Rows): Promise<(Fault | undefined)[]> {
    const outcome: (Fault | undefined)[] = []
    for (const transaction of batch) {
      try {
        const keys = transaction.prepare?.(rows)
        if (keys && keys.length > 0) await rows.load(keys, FEW_KEYS)
        transaction.decide(rows)
        rows.keep()
        outcome.push(undefined)
      } catch (thrown) {
        rows.discard()
        outcome.push(Fault.from(thrown))
      }
    }
    return outcome
  }

  async #write(batch: Transaction[], rows: Rows, outcome: (Fault | undefined)[], startedAt: number): Promise<void> {
    const { engine, chain, fsync, observer, clock } = this.#needs
    for (const participant of this.participants) participant.beforeWrite(rows)
    rows.keep()
    if (rows.size === 0) return
    const durable = batch.some((transaction, at) => transaction.durable && !outcome[at])
    chain.add(rows, durable)
    rows.keep()
    await engine.write(rows.writes() as Iterable<Write>, fsync && durable)
    chain.written()
    this.#generation++
    this.#failing = false
    const tookMs = clock.now() - startedAt
    this.#guarded(() =>
      observer.committed?.({ transactions: batch.length, rows: rows.size, bytes: rows.bytes, tookMs }),
    )
  }

  #fail(batch: Transaction[], cause: unknown): void {
    this.#failing = true
    this.#stale = true
    this.#generation++
    const fault = unavailable(cause)
    this.#guarded(() => this.#needs.observer.writeFailed?.(cause))
    for (const participant of this.participants) participant.failed()
    for (const transaction of batch) this.#guarded(() => transaction.refused(fault))
  }

  async #reopen(): Promise<void> {
    const now = this.#needs.clock.now()
    if (now - this.#reopenedAt < REOPEN_EVERY_MS && now >= this.#reopenedAt)
      throw new Fault('log-unavailable', {}, { cause: new Error('The database could not be opened again.') })
    const { engine, disk } = this.#needs
    // Without room it could not be opened: what fails to be written can be read as long as it is not closed.
    if (!engine.isLost) await disk.mayOpen()
    this.#reopenedAt = now
    await engine.reopen()
    await this.#needs.chain.open(engine)
    this.#generation++
    for (const participant of this.participants) await participant.recovered()
    this.#stale = false
    this.#reopenedAt = Number.NEGATIVE_INFINITY
  }

  /** One who is told must not end the others. */
  #guarded(tell: () => void): void {
    try {
      tell()
    } catch (thrown) {
      try {
        this.#needs.observer.listenerFailed?.(thrown)
      } catch {
        // An observer that throws has nobody left to tell.
      }
    }
  }
}
