/** One run: a seed decides who does what, what breaks, and in which order everything that waits goes on. */
import type { Operation } from '../checker/history.ts'
import { Chance } from '../support/proof.ts'
import { Device } from './device.ts'
import { Disk } from './disk.ts'
import type { Image, Person } from './image.ts'
import { type Line, line } from './network.ts'
import { Office } from './office.ts'
import { cast, type Plan, planOf } from './plan.ts'
import { type SimulatedServer, start } from './server.ts'
import { virtualTimers } from './timers.ts'
import { Life, Turns } from './turns.ts'

export interface Outcome {
  history: Operation[]
  /** Mistakes of the server that no fault explains. */
  failures: string[]
  steps: number
}

/** In this long after the last fault everything must have arrived. */
const SETTLE_MS = 60_000
/** Who is refused and comes again at once does so no longer. */
const SETTLE_STEPS = 20_000

export async function play(seed: number, image: Image): Promise<Outcome> {
  const run = new Play(seed, image)
  const restore = virtualTimers(() => run.life)
  try {
    await run.all()
    return { history: run.history, failures: run.failures, steps: run.turns.steps }
  } finally {
    restore()
  }
}

class Play {
  readonly chance: Chance
  readonly turns: Turns
  readonly history: Operation[] = []
  readonly failures: string[] = []
  /** The server's process. */
  life: Life
  /** Networks and clients live on. */
  readonly #outside: Life
  readonly #disk: Disk
  readonly #plan: Plan
  readonly #devices: Device[]
  readonly #office: Office
  #server: SimulatedServer | undefined
  #starting: Promise<void> | undefined
  #lines = new Set<Line>()
  #over = false

  constructor(seed: number, image: Image) {
    this.chance = new Chance(seed)
    this.turns = new Turns(this.chance)
    this.#outside = new Life(this.turns)
    this.life = new Life(this.turns)
    this.#disk = new Disk(this.chance, image.batches)
    this.#plan = planOf(this.chance)
    const world = {
      now: () => this.turns.time,
      tell: (operation: Operation) => {
        if (!this.#over) this.history.push(operation)
      },
      dial: (node: number) => this.#dial(node),
    }
    this.#devices = cast(this.#plan, this.chance, image.passwords).map(is => new Device(is, world))
    this.#office = new Office(world)
  }

  async all(): Promise<void> {
    await this.#begin()
    for (let i = 0; i < this.#plan.actions; i++) {
      await this.#act()
      for (let steps = this.chance.below(this.#plan.pace); steps > 0; steps--) await this.turns.step()
    }
    await this.#settle()
    await this.#readLogs()
    await this.#end()
  }

  // ---- the server ----

  #begin(): Promise<void> {
    this.#starting = this.#boot()
    return this.#until(this.#starting)
  }

  async #boot(): Promise<void> {
    const { life } = this
    const { windowMessages, windowBytes } = this.#plan
    const failed = (where: string, error: unknown) => {
      if (!life.over)
        this.failures.push(`${where}: ${(error as Error)?.stack ?? error} ${(error as Error)?.cause ?? ''}`)
    }
    const server = await start({
      disk: this.#disk,
      life,
      chance: this.chance,
      options: { windowMessages, windowBytes },
      failed,
    })
    this.#server = server
    this.#office.core = server.core
    this.#office.storage = server.storage
  }

  #dial(node: number): Line {
    const made = line(this.#outside, this.chance)
    this.#lines.add(made)
    if (this.#server) this.#server.take(node, made.server)
    else made.cut()
    return made
  }

  /** The server is stopped and started: nobody crashes, so nobody gets anything twice. */
  async #restart(): Promise<void> {
    const server = this.#server
    if (!server || this.#disk.failing > 0) return
    this.#fault('restart', true)
    this.#server = undefined
    this.#office.crashed()
    await this.#until(server.stop())
    this.#dies()
    await this.#begin()
    this.#fault('restart')
  }

  /** The process dies; with the power, what the disk had not synced may go too. */
  async #crash(power: boolean): Promise<void> {
    if (!this.#server) return
    this.#fault(power ? 'crash: power cut' : 'crash: kill -9', true)
    this.#server = undefined
    this.#office.crashed()
    for (const device of this.#devices) device.crashed()
    this.#dies()
    if (power) this.#disk.cutPower()
    this.#mendDisk()
    await this.#begin()
    this.#fault(power ? 'crash: power cut' : 'crash: kill -9')
  }

  /** With a process end its sockets, those included that have not said who they are. */
  #dies(): void {
    this.turns.end(this.life)
    for (const made of this.#lines) made.cut()
    this.#lines.clear()
    this.life = new Life(this.turns)
  }

  #breakDisk(): void {
    this.#disk.failing = this.#plan.failing
    this.#fault('disk fails', true)
  }
  #mendDisk(): void {
    if (this.#disk.failing > 0) this.#fault('disk fails')
    this.#disk.failing = 0
  }

  #fault(what: string, begins?: true): void {
    this.history.push({ do: 'fault', at: this.turns.time, what, ...(begins && { begins }) })
  }

  async #until(work: Promise<unknown>): Promise<void> {
    let over = false
    const deadline = this.turns.time + SETTLE_MS
    const watched = work.finally(() => {
      over = true
    })
    watched.catch(() => {})
    // What waits for nothing of ours, as an engine that opens, comes within a few turns.
    for (let dead = 0; !over; dead = this.turns.dead ? dead + 1 : 0) {
      if (this.turns.time > deadline || dead > 1_000) throw new Error('it never ends')
      await this.turns.step()
    }
    await watched
  }

  // ---- what happens ----

  async #act(): Promise<void> {
    const { chance } = this
    const device = chance.of(this.#devices)
    switch (this.#plan.next(chance)) {
      case 'say': {
        const [conversation, topic] = this.#plan.where(chance, device.is.user as Person)
        device.outbox.say(conversation, topic, chance.happens(this.#plan.qos2) ? 2 : 1)
        break
      }
      case 'acknowledge':
        for (let n = 1 + chance.below(4); n > 0; n--) device.acknowledge(chance.below(1_000))
        break
      case 'connect':
        // A client that comes by another way leaves its connection behind, often without a word.
        device.drop(chance.happens(0.5))
        device.connect(chance.below(this.#plan.nodes))
        break
      case 'subscribe':
        device.subscribe()
        break
      case 'drop':
        device.drop(chance.happens(0.3))
        break
      case 'leave':
        device.leave()
        break
      case 'forget':
        device.forget()
        break
      case 'members':
        this.#office.changeMembers(chance)
        break
      case 'read':
        this.#office.read(chance)
        break
      case 'post':
        this.#office.post(chance)
        break
      case 'retain':
        this.#office.retain(chance)
        break
      case 'disk':
        if (this.#disk.failing > 0) this.#mendDisk()
        else this.#breakDisk()
        break
      case 'restart':
        await this.#restart()
        break
      case 'crash':
        await this.#crash(chance.happens(0.5))
        break
    }
  }

  /** Nothing breaks any more; everybody comes back, reads and acknowledges. */
  async #settle(): Promise<void> {
    this.#mendDisk()
    // What stood still for a frozen connection must be done by then.
    await this.#goOn(() => this.turns.idle && this.#quiet())
    if (!this.#quiet()) this.failures.push(`after ${SETTLE_MS} ms without a fault ${this.#waiting()} still wait`)
    // What nobody has by then is not under way: only now can the checker tell what a member waits for in vain.
    await this.#goOn(() => false)
  }

  async #goOn(over: () => boolean): Promise<void> {
    const { turns } = this
    const until = turns.time + SETTLE_MS + 1_000
    const last = turns.steps + SETTLE_STEPS
    while (turns.time < until && turns.steps < last && !turns.dead && !over()) {
      for (const device of this.#devices) {
        // Who is refused comes again, not at once.
        if (device.away && this.chance.below(8) === 0) device.connect(this.chance.below(this.#plan.nodes))
        else if (device.connected && !device.subscribed && this.chance.below(4) === 0) device.subscribe()
        while (device.unacknowledged.length > 0) device.acknowledge(0)
      }
      this.#office.again(this.chance)
      await turns.step()
    }
  }

  /** Nobody waits for anything, so that no time need pass. */
  #quiet(): boolean {
    return this.#waiting() === ''
  }
  /** Who has no session, or no answer. */
  #waiting(): string {
    const waits = this.#devices.filter(device => !device.connected || !device.subscribed || device.sending)
    return [...waits.map(({ session }) => session), ...(this.#office.idle ? [] : ['the office'])].join(', ')
  }

  async #readLogs(): Promise<void> {
    const storage = this.#server?.storage
    if (!storage) throw new Error('there is no server at the end')
    const at = this.turns.time
    await this.#until(this.#office.logs(storage, at))
  }

  /** What ends from now on ends with the run: in its history everybody stays connected. */
  async #end(): Promise<void> {
    this.#over = true
    this.turns.end(this.life)
    for (const device of this.#devices) device.crashed()
    for (const made of this.#lines) made.client.destroy()
  }
}
