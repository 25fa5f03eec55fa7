/** The server's process and what breaks it: it is stopped, dies, or has a bad disk, and goes on. Disk and lines outlive it. */
import type { Operation } from '../checker/history.ts'
import type { Chance } from '../support/proof.ts'
import { Disk } from './disk.ts'
import type { Image } from './image.ts'
import { type Line, line } from './network.ts'
import type { Plan } from './plan.ts'
import { type SimulatedServer, start } from './server.ts'
import { Life, type Turns } from './turns.ts'

/** In this long after the last fault everything must have arrived. */
export const SETTLE_MS = 60_000

interface Needs {
  chance: Chance
  turns: Turns
  tell(operation: Operation): void
  /** A mistake of the server that no fault explains. */
  failed(what: string): void
  isUp(server: SimulatedServer): void
  /** Its clients see for themselves that their connections end, unless it died. */
  isDown(died: boolean): void
}

export class ServerProcess {
  life: Life
  /** Networks and clients live on. */
  readonly #outside: Life
  readonly #disk: Disk
  readonly #plan: Plan
  readonly #needs: Needs
  #server: SimulatedServer | undefined
  #lines = new Set<Line>()

  constructor(image: Image, plan: Plan, needs: Needs) {
    this.#outside = new Life(needs.turns)
    this.life = new Life(needs.turns)
    this.#disk = new Disk(needs.chance, image.batches)
    this.#plan = plan
    this.#needs = needs
  }

  begin(): Promise<void> {
    return this.until(this.#boot())
  }

  async #boot(): Promise<void> {
    const { life } = this
    const { windowMessages, windowBytes } = this.#plan
    const failed = (where: string, error: unknown) => {
      if (!life.over)
        this.#needs.failed(`${where}: ${(error as Error)?.stack ?? error} ${(error as Error)?.cause ?? ''}`)
    }
    const server = await start({
      disk: this.#disk,
      life,
      chance: this.#needs.chance,
      options: { windowMessages, windowBytes },
      failed,
    })
    this.#server = server
    this.#needs.isUp(server)
  }

  dial(node: number): Line {
    const made = line(this.#outside, this.#needs.chance)
    this.#lines.add(made)
    if (this.#server) this.#server.take(node, made.server)
    else made.cut()
    return made
  }

  /** The server is stopped and started: nobody crashes, so nobody gets anything twice. */
  async restart(): Promise<void> {
    const server = this.#server
    if (!server || this.isDiskBad) return
    this.#fault('restart', true)
    this.#server = undefined
    this.#needs.isDown(false)
    await this.until(server.stop())
    this.#dies()
    await this.begin()
    this.#fault('restart')
  }

  /** The process dies; with the power, what the disk had not synced may go too. */
  async crash(power: boolean): Promise<void> {
    if (!this.#server) return
    this.#fault(power ? 'crash: power cut' : 'crash: kill -9', true)
    this.#server = undefined
    this.#needs.isDown(true)
    this.#dies()
    if (power) this.#disk.cutPower()
    this.mendDisk()
    await this.begin()
    this.#fault(power ? 'crash: power cut' : 'crash: kill -9')
  }

  /** With a process end its sockets, those included that have not said who they are. */
  #dies(): void {
    this.#needs.turns.end(this.life)
    for (const made of this.#lines) made.cut()
    this.#lines.clear()
    this.life = new Life(this.#needs.turns)
  }

  get isDiskBad(): boolean {
    return this.#disk.failing > 0
  }
  breakDisk(): void {
    this.#disk.failing = this.#plan.failing
    this.#fault('disk fails', true)
  }
  mendDisk(): void {
    if (this.isDiskBad) this.#fault('disk fails')
    this.#disk.failing = 0
  }

  #fault(what: string, begins?: true): void {
    this.#needs.tell({ do: 'fault', at: this.#needs.turns.time, what, ...(begins && { begins }) })
  }

  /** The run goes on until that work of the server is done. */
  async until(work: Promise<unknown>): Promise<void> {
    const { turns } = this.#needs
    let over = false
    const deadline = turns.time + SETTLE_MS
    const watched = work.finally(() => {
      over = true
    })
    watched.catch(() => {})
    // What waits for nothing of ours, as an engine that opens, comes within a few turns.
    for (let dead = 0; !over; dead = turns.dead ? dead + 1 : 0) {
      if (turns.time > deadline || dead > 1_000) throw new Error('it never ends')
      await turns.step()
    }
    await watched
  }

  /** Nothing of it goes on. */
  end(): void {
    this.#needs.turns.end(this.life)
    for (const made of this.#lines) made.client.destroy()
  }
}
