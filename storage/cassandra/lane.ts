/**
 * Appends of one conversation: what waits is put behind the tail by one conditional batch, one batch under way. The tail
 * is the safety: where another node was first, what it appended is told here, and the batch is made anew, so every append
 * is made by who knows all that was before it.
 */
import type { ConversationKey } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import { type Append, judged, type Placed } from './append.ts'
import { type Batch, compose } from './batch.ts'
import { Contest } from './contests.ts'
import { decide, newLock } from './decisions.ts'
import { type End, hintBucket } from './ends.ts'
import type { Shared } from './log.ts'
import { pauses } from './pauses.ts'
import { byHome, type Step } from './plan.ts'
import { type Found, Repeats } from './repeats.ts'
import type { Statement } from './ring.ts'
import { View } from './view.ts'

const BATCH_APPENDS = 64
const BATCH_BYTES = 512 * 1024
const QUEUE = 10_000
const pauseOf = pauses(20, 100, 500, 2_000)

export class Lane {
  readonly #shared: Shared
  readonly #conversation: ConversationKey
  readonly #repeats: Repeats
  readonly #contest: Contest | undefined
  #queue: Append[] = []
  #running: Promise<void> | undefined
  #finishing: Promise<void> = Promise.resolve()
  readonly view: View

  constructor(shared: Shared, conversation: ConversationKey) {
    this.#shared = shared
    this.#conversation = conversation
    this.#repeats = new Repeats(shared, conversation)
    this.#contest = shared.contests && new Contest(shared.contests, conversation)
    this.view = new View(shared, conversation)
  }

  get isIdle(): boolean {
    return this.#running === undefined && this.view.isIdle
  }
  async idle(): Promise<void> {
    await this.#running
    await this.#finishing
    await this.view.settled()
  }

  add(append: Append): void {
    if (this.#queue.length >= QUEUE) {
      append.reject(new Fault('log-unavailable', {}, { cause: new Error('Too many appends wait.') }))
      return
    }
    this.#queue.push(append)
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      // What is called in one turn of the loop goes together.
      await Promise.resolve()
      const taken = this.#take()
      try {
        await this.#commit(taken)
      } catch (cause) {
        this.view.doubt()
        const fault = cause instanceof Fault ? cause : new Fault('log-unavailable', {}, { cause })
        for (const append of taken) if (!append.isStored) append.reject(fault)
      } finally {
        this.#contest?.giveBack(this.view.others)
      }
    }
    this.#running = undefined
  }

  #take(): Append[] {
    let bytes = 0
    let count = 0
    while (count < this.#queue.length && count < BATCH_APPENDS && bytes < BATCH_BYTES)
      bytes += this.#queue[count++]?.bytes ?? 0
    return this.#queue.splice(0, count)
  }

  /** Each of them is resolved or rejected, or this throws. */
  async #commit(taken: readonly Append[]): Promise<void> {
    let waiting = [...taken]
    let late: Batch[] = []
    for (let attempt = 1; waiting.length > 0; attempt++) {
      await this.#contest?.turn()
      const end = await this.view.now()
      const bucket = await this.#bucketBehind(end)
      waiting = this.#answer(waiting, await this.#repeats.before(waiting, bucket))
      waiting = await judged(waiting)
      const batch = await compose(this.#shared, this.#conversation, waiting, end, bucket)
      waiting = waiting.filter(append => !append.isOver)
      if (batch.placed.length === 0) continue
      if (await this.#set(batch, end)) {
        const done = appendsOf(batch)
        waiting = waiting.filter(append => !done.has(append))
        late = []
        attempt = 0
      } else {
        waiting = waiting.filter(append => !append.isOver)
        if (batch.isLate) late.push(batch)
        const { seq } = await this.view.learn(true)
        if (seq > end.seq) this.#contest?.lost()
        waiting = await this.#arrived(waiting, late, seq)
        late = late.filter(({ placed: [first] }) => first && first.entry.seq > seq)
        waiting = this.#answer(waiting, await this.#repeats.inBucket(waiting, bucket))
      }
      for (const append of waiting) append.mayCome = late.some(batch => appendsOf(batch).has(append))
      if (attempt > 1) await this.#shared.writer.again(attempt)
    }
    // It may still arrive, and nobody here would look for it.
    if (late.length > 0) this.view.doubt()
  }

  /** Batches that were given up and came after all; whoever waits for them is told, as everybody else was. */
  async #arrived(waiting: Append[], late: readonly Batch[], upTo: number): Promise<Append[]> {
    let left = waiting
    for (const batch of late) {
      const { seq } = (batch.placed[0] as Batch['placed'][0]).entry
      if (seq > upTo || !(await this.#isThere(batch))) continue
      this.view.announce()
      this.#finishing = this.#told(batch, undefined)
      const done = appendsOf(batch)
      left = left.filter(append => !done.has(append))
    }
    return left
  }

  /** The bucket of the next entry; a new one is hinted at before it has anything. */
  async #bucketBehind({ seq, bucket }: End): Promise<number> {
    const next = this.#shared.ends.bucketOf(seq + 1)
    if (next > bucket) await this.#shared.ring.write([hintBucket(this.#conversation, next)])
    return next
  }

  #answer(waiting: Append[], found: readonly Found[]): Append[] {
    const repeated = new Set(found.map(({ append }) => append))
    for (const one of found) this.#repeats.entry(one).then(one.append.resolve, one.append.reject)
    return waiting.filter(append => !repeated.has(append))
  }

  // ---- one batch ----

  async #set(batch: Batch, end: End): Promise<boolean> {
    const [first] = batch.placed
    if (first && (first.versioned.length > 0 || batch.across)) return this.#transact(batch, end)
    if (!(await this.#apply(batch, batch.statements))) return false
    this.#stored(batch, end)
    return true
  }

  async #apply(batch: Batch, statements: readonly Statement[]): Promise<boolean> {
    const { ring, observer } = this.#shared
    const { outcome, cause } = await ring.compareAndSet(statements)
    observer.raced?.(outcome)
    if (outcome !== 'unknown') return outcome === 'applied'
    try {
      if (await this.#isThere(batch)) return true
      batch.isLate = true
      return false
    } catch {
      throw new Fault('log-unavailable', {}, { cause })
    }
  }

  /** An entry keeps its id, also when it is taken back. */
  async #isThere({ placed, bucket }: Batch): Promise<boolean> {
    const { entry } = placed[0] as (typeof placed)[0]
    const query = `SELECT entry FROM log WHERE conversation = ? AND bucket = ? AND seq = ? AND name = ''`
    const [row] = await this.#shared.ring.readSerial(query, [this.#conversation, bucket, entry.seq])
    return typeof row?.entry === 'string' && JSON.parse(row.entry).id === entry.entry.id
  }

  /** What lies in other partitions is set aside first, rows as well as a message, and the batch of the entry decides. */
  async #transact(batch: Batch, end: End): Promise<boolean> {
    const { writer, decisions, retractions } = this.#shared
    const [{ append, versioned }] = batch.placed as [Batch['placed'][0]]
    let steps: Step[]
    try {
      steps = await writer.plan(versioned)
    } catch (fault) {
      append.reject(fault)
      return false
    }
    const lock = newLock({ conversation: this.#conversation, bucket: batch.bucket })
    const homes = byHome(steps)
    const { across } = batch
    await writer.putEntries(steps)
    const isAside =
      (await writer.setAside(homes, lock)) &&
      (!across || (await retractions.setAside(this.#conversation, across, lock)))
    const done = isAside && (await this.#apply(batch, [...batch.statements, decide(lock, 'done')]))
    const outcome = done ? 'done' : await decisions.settle(lock, 'off')
    await writer.settle(homes, lock, outcome)
    if (across) await retractions.settle(this.#conversation, across, lock, outcome)
    if (outcome === 'off') return false
    await writer.finish(steps, [])
    this.#stored(batch, end)
    return true
  }

  /** It is durable: followers are told, then what belongs to it is done, then its senders are. */
  #stored(batch: Batch, end: End): void {
    const entries = batch.placed.map(({ entry }) => entry)
    const last = batch.placed.at(-1) as Batch['placed'][0]
    this.#finishing = this.#told(batch, this.view.appended(entries, { ...end, ...last.tail, bucket: batch.bucket }))
  }

  #told({ placed, twins }: Batch, told: Promise<void> | undefined): Promise<void> {
    for (const { append } of [...placed, ...twins]) append.isStored = true
    return this.#finishing
      .then(() => told)
      .then(() => this.#finish(placed))
      .then(
        () => {
          for (const { append, entry } of placed) append.resolve(entry)
          for (const { append, of } of twins) append.resolveAs(of.entry)
        },
        cause => {
          for (const { append } of [...placed, ...twins]) append.reject(cause)
        },
      )
  }

  /** Record changes of the entries. Tried until they are made; if this node dies before, who looks at the end makes them. */
  async #finish(placed: Batch['placed']): Promise<void> {
    const { writer, pause, closed } = this.#shared
    const ranked = placed.flatMap(({ ranked }) => ranked)
    const [first, last] = [placed[0], placed.at(-1)] as [Placed, Placed]
    for (let tries = 0; ; tries++) {
      try {
        if (ranked.length > 0) await writer.writeRanked(ranked)
        this.view.made([first.entry.seq, last.entry.seq])
        return
      } catch (cause) {
        if (closed()) throw cause
        await pause(pauseOf(tries))
      }
    }
  }
}

const appendsOf = ({ placed, twins }: Batch): Set<Append> => new Set([...placed, ...twins].map(({ append }) => append))
