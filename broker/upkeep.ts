/** What is due without anyone asking: expired tokens and sessions, delayed wills, stalled readers and pumps. */
import type { Records, Scheduler } from '../core/ports.ts'
import type { Run } from '../core/run.ts'
import type { ConnectionTable } from './connections.ts'
import { Expiry } from './expiry.ts'
import type { BrokerObserver } from './observer.ts'
import type { SessionRow } from './session-rows.ts'
import type { SessionStore } from './sessions.ts'
import { tellWill } from './wills.ts'

interface Needs {
  table: ConnectionTable
  store: SessionStore
  records: Records
  run: Run
  scheduler: Scheduler
  observer: BrokerObserver
  /** Whether this node does what one of a cluster is enough for. */
  isFirst(): boolean
}

const TICK_MS = 1_000
const STALLED_MS = 5_000
const SWEEP_MS = 30_000

export class Upkeep {
  /** After a restart clients get this long to come back before their wills are told. */
  static readonly GRACE_MS = 30_000
  readonly #needs: Needs
  readonly #expiry: Expiry
  #stopped = false
  #sweptAt = 0
  #working: Promise<void> | undefined
  #cancel: (() => void) | undefined

  constructor(needs: Needs) {
    this.#needs = needs
    this.#expiry = new Expiry(needs)
  }

  /** Sessions that were connected to a run of a node when it ended, those of the only node unless one is named, are disconnected from now on. */
  async recover(run?: string): Promise<void> {
    await this.#needs.store.recover(Upkeep.GRACE_MS, run)
  }

  start(): void {
    this.#cancel = this.#needs.scheduler.after(TICK_MS, () => {
      if (this.#stopped) return
      this.#look()
      this.#working ??= this.#work()
        .catch(error => this.#needs.observer.failed('upkeep', error))
        .finally(() => {
          this.#working = undefined
        })
      this.start()
    })
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
  }

  #look(): void {
    const { table, scheduler, observer } = this.#needs
    const now = scheduler.now()
    for (const connection of table.all()) {
      connection.sweep(now)
      if (connection.session.pump.heal(STALLED_MS)) observer.pumpStalled()
    }
  }

  async #work(): Promise<void> {
    const { run, scheduler, observer, isFirst } = this.#needs
    if (!isFirst()) return
    const tell = async (row: SessionRow) => row.will && tellWill(run, row, row.will)
    const failed = (error: unknown) => observer.failed('will', error)
    while ((await this.#expiry.tellWills(tell, failed)) > 0 && !this.#stopped) {}
    // A clock that was set back does not keep it from sweeping.
    if (Math.abs(scheduler.now() - this.#sweptAt) < SWEEP_MS) return
    this.#sweptAt = scheduler.now()
    while ((await this.#expiry.sweep()) > 0 && !this.#stopped) {}
  }
}
