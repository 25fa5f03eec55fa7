/**
 * Turns at conversations that several nodes append to at once. By compare-and-set alone the batch of one makes those of all
 * others anew, and who loses often waits for seconds. So nodes that meet ask one of them, the same for all by rendezvous
 * hashing, which lets them in one after the other. It is no lock: who is not answered in time goes on without a turn, and
 * what anyone writes stands under the same condition as ever.
 */
import { createHash } from 'node:crypto'
import type { Cluster, ConversationKey } from '../../core/ports.ts'

/** Asks for a turn, gives one, gives one back. */
type Word = { does: 'ask' | 'give' | 'end'; conversation: ConversationKey; node: string; id: number }
interface Line {
  /** The first has the turn. */
  asked: { node: string; id: number }[]
  timer: NodeJS.Timeout
}

/** A turn that was not given back by then is over. */
const TURN_MS = 1_000
/** Who has waited so long goes without. */
const WAIT_MS = 2_000
/** A node that was not heard for so long is not asked. */
const SILENT_MS = 3_000
/** Who did not answer is not asked for so long. */
const DEAF_MS = 10_000
/** A node waits once for each conversation. */
const MAX_LINE = 1_000

const channelOf = (node: string) => `w/${node}`

/** Own turns in a row between which nobody else appended: nodes do not meet any more. */
const CALM = 16

/** One conversation, as this node appends to it. */
export class Contest {
  readonly #ask: () => Promise<() => void>
  /** Own turns before it is calm; 0 where nodes do not meet. */
  #calmIn = 0
  #others = 0
  #giveBack: (() => void) | undefined

  constructor(contests: Contests, conversation: ConversationKey) {
    this.#ask = () => contests.turn(conversation)
  }

  /** Waits for this node's turn, where nodes meet and it has none. */
  async turn(): Promise<void> {
    if (this.#calmIn > 0) this.#giveBack ??= await this.#ask()
  }
  /** What it was for is done; `others` counts what is known of other nodes. */
  giveBack(others: number): void {
    if (this.#calmIn > 0) this.#calmIn = others === this.#others ? this.#calmIn - 1 : CALM
    this.#others = others
    this.#giveBack?.()
    this.#giveBack = undefined
  }

  /** Another node was first. */
  lost(): void {
    this.#calmIn = CALM
  }
}

export class Contests {
  readonly #cluster: Pick<Cluster, 'node' | 'bus'>
  readonly #waiting = new Map<number, () => void>()
  readonly #lines = new Map<ConversationKey, Line>()
  readonly #unsubscribe: () => void
  /** Until when nodes that did not answer are not asked. */
  readonly #deaf = new Map<string, number>()
  #ids = 0

  constructor(cluster: Pick<Cluster, 'node' | 'bus'>) {
    this.#cluster = cluster
    this.#unsubscribe = cluster.bus.subscribe(channelOf(cluster.node), message => this.#heard(message))
  }

  /** Whoever waits goes on. */
  close(): void {
    this.#unsubscribe()
    for (const [conversation, { asked, timer }] of this.#lines) {
      clearTimeout(timer)
      for (const { node, id } of asked) this.#tell(node, { does: 'give', conversation, node, id })
    }
    this.#lines.clear()
    for (const goOn of this.#waiting.values()) goOn()
  }

  /** Resolves when it is this node's turn, or it has waited long enough; what it resolves to gives the turn back. */
  async turn(conversation: ConversationKey): Promise<() => void> {
    // Nobody hears what is asked.
    if (!this.#cluster.bus.healthy) return () => {}
    const to = this.#arbiterOf(conversation)
    const id = ++this.#ids
    const word = { conversation, node: this.#cluster.node, id }
    await new Promise<void>(resolve => {
      const goOn = () => {
        clearTimeout(timer)
        this.#waiting.delete(id)
        resolve()
      }
      const timer = setTimeout(() => {
        if (to !== this.#cluster.node) this.#deaf.set(to, performance.now() + DEAF_MS)
        goOn()
      }, WAIT_MS)
      this.#waiting.set(id, goOn)
      this.#tell(to, { does: 'ask', ...word })
    })
    return () => this.#tell(to, { does: 'end', ...word })
  }

  /** Of the nodes that are heard the one with the highest hash: all that hear the same ones ask the same. */
  #arbiterOf(conversation: ConversationKey): string {
    const { node, bus } = this.#cluster
    const now = performance.now()
    for (const [deaf, until] of this.#deaf) if (until < now) this.#deaf.delete(deaf)
    const heard = bus
      .peers()
      .flatMap(peer => (peer.silentMs < SILENT_MS && !this.#deaf.has(peer.node) ? peer.node : []))
    const hashed = [node, ...heard].map(name => ({ name, hash: hashOf(`${name} ${conversation}`) }))
    return hashed.reduce((best, one) => (one.hash > best.hash ? one : best)).name
  }

  #tell(node: string, word: Word): void {
    if (node === this.#cluster.node) this.#hear(word)
    else this.#cluster.bus.publish(channelOf(node), Buffer.from(JSON.stringify(word)))
  }

  #heard(message: Buffer): void {
    let word: Word
    try {
      word = JSON.parse(message.toString())
    } catch {
      return
    }
    this.#hear(word)
  }

  #hear(word: Word): void {
    if (word.does === 'give') {
      const goOn = this.#waiting.get(word.id)
      if (goOn) goOn()
    } else if (word.does === 'ask') this.#asked(word)
    else this.#ended(word)
  }

  // ---- the node that is asked ----

  #asked({ conversation, node, id }: Word): void {
    const line = this.#lines.get(conversation)
    if (line && line.asked.length >= MAX_LINE) return
    if (line) line.asked.push({ node, id })
    else this.#give(conversation, [{ node, id }])
  }

  #ended({ conversation, node, id }: Word): void {
    const line = this.#lines.get(conversation)
    if (!line) return
    const at = line.asked.findIndex(one => one.node === node && one.id === id)
    if (at === 0) this.#next(conversation, line)
    else if (at > 0) line.asked.splice(at, 1)
  }

  #next(conversation: ConversationKey, { asked, timer }: Line): void {
    clearTimeout(timer)
    this.#lines.delete(conversation)
    if (asked.length > 1) this.#give(conversation, asked.slice(1))
  }

  #give(conversation: ConversationKey, asked: Line['asked']): void {
    const line: Line = { asked, timer: setTimeout(() => this.#next(conversation, line), TURN_MS) }
    this.#lines.set(conversation, line)
    const [{ node, id }] = asked as [Line['asked'][0]]
    this.#tell(node, { does: 'give', conversation, node, id })
  }
}

const hashOf = (text: string) => createHash('sha1').update(text).digest('hex')
