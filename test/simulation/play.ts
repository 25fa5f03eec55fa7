/** One run: a seed decides who does what, what breaks, and in which order everything that waits goes on. */
import type { Operation } from '../checker/history.ts'
import { Chance } from '../support/proof.ts'
import { Device } from './device.ts'
import type { Image, Person } from './image.ts'
import { Office } from './office.ts'
import { cast, type Plan, planOf } from './plan.ts'
import { SETTLE_MS, ServerProcess } from './process.ts'
import { virtualTimers } from './timers.ts'
import { Turns } from './turns.ts'

export interface Outcome {
  history: Operation[]
  /** Mistakes of the server that no fault explains. */
  failures: string[]
  steps: number
}

/** Who is refused and comes again at once does so no longer. */
const SETTLE_STEPS = 20_000

export async function play(seed: number, image: Image): Promise<Outcome> {
  const run = new Play(seed, image)
  const restore = virtualTimers(() => run.server.life)
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
  readonly server: ServerProcess
  readonly #plan: Plan
  readonly #devices: Device[]
  readonly #office: Office
  #over = false

  constructor(seed: number, image: Image) {
    this.chance = new Chance(seed)
    this.turns = new Turns(this.chance)
    this.#plan = planOf(this.chance)
    const { chance, turns } = this
    const tell = (operation: Operation) => {
      if (!this.#over) this.history.push(operation)
    }
    this.server = new ServerProcess(image, this.#plan, {
      chance,
      turns,
      tell,
      failed: what => this.failures.push(what),
      isUp: ({ core, storage }) => {
        this.#office.core = core
        this.#office.storage = storage
      },
      isDown: died => {
        this.#office.crashed()
        if (died) for (const device of this.#devices) device.crashed()
      },
    })
    const world = { now: () => turns.time, tell, dial: (node: number) => this.server.dial(node) }
    this.#devices = cast(this.#plan, this.chance, image.passwords).map(is => new Device(is, world))
    this.#office = new Office(world)
  }

  async all(): Promise<void> {
    await this.server.begin()
    for (let i = 0; i < this.#plan.actions; i++) {
      await this.#act()
      for (let steps = this.chance.below(this.#plan.pace); steps > 0; steps--) await this.turns.step()
    }
    await this.#settle()
    await this.#readLogs()
    await this.#end()
  }

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
        if (this.server.isDiskBad) this.server.mendDisk()
        else this.server.breakDisk()
        break
      case 'restart':
        await this.server.restart()
        break
      case 'crash':
        await this.server.crash(chance.happens(0.5))
        break
    }
  }

  /** Nothing breaks any more; everybody comes back, reads and acknowledges. */
  async #settle(): Promise<void> {
    this.server.mendDisk()
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
    const { storage } = this.#office
    if (!storage) throw new Error('there is no server at the end')
    const at = this.turns.time
    await this.server.until(this.#office.logs(storage, at))
  }

  /** What ends from now on ends with the run: in its history everybody stays connected. */
  async #end(): Promise<void> {
    this.#over = true
    for (const device of this.#devices) device.crashed()
    this.server.end()
  }
}
