/**
 * Which nodes of the cluster live, by what each writes down every few seconds, judged by this node's own clock: what a node
 * that died left connected is disconnected by a survivor.
 */
import { type Found, putRanked, type Records, removeRanked, type Scheduler, table } from '../core/ports.ts'

/** Partition: `nodes`; key: one run of a node. */
interface NodeRow {
  node: string
  startedAt: number
}
const NODES = table<NodeRow>('nodes', undefined, { ranked: true })
const ALL = 'nodes'
const MAX_NODES = 1_000

const BEAT_MS = 3_000
/** A node that has written nothing for so long is dead; one that was only slow finds its sessions given to others. */
const DEAD_MS = 15_000

/** A run is named by its node and a number of its own. */
export const nodeOf = (run: string) => run.slice(0, run.lastIndexOf('/'))

export interface NodesNeeds {
  records: Pick<Records, 'scan' | 'write'>
  scheduler: Scheduler
  /** This node's name, another's for no other node that lives. */
  cluster: { node: string }
  /** This run of it. */
  run: string
  /** Disconnects what a run left connected when it died. */
  recover(run: string): Promise<void>
  /** A run has ended without a word, or this one was silent for so long that others may have taken it for dead. */
  died(): void
  failed(where: string, error: unknown): void
}

export class Nodes {
  readonly #needs: NodesNeeds
  /** The latest beat of each run, and when this one saw it first. */
  readonly #seen = new Map<string, { beat: number; since: number }>()
  readonly #startedAt: number
  #beat = 0
  #beatAt: number
  #cancel: (() => void) | undefined
  #working: Promise<void> = Promise.resolve()
  /** A run of the same name that lives as well, when that was last told of. */
  #namesake: string | undefined
  #closed = false

  constructor(needs: NodesNeeds) {
    this.#needs = needs
    this.#startedAt = needs.scheduler.now()
    this.#beatAt = this.#startedAt
  }

  /** What earlier runs of this node left connected is disconnected at once. */
  async open(): Promise<void> {
    const { records, cluster } = this.#needs
    await this.#write()
    const rows = await records.scan(NODES, ALL, { limit: MAX_NODES })
    for (const { key, row, version } of rows)
      if (row.node === cluster.node && key !== this.#needs.run) await this.#bury(key, version)
    this.#later()
  }

  /** Whether this node is the first of the living: it does what one is enough for. */
  get isFirst(): boolean {
    const { run } = this.#needs
    return [...this.#seen].every(([other, seen]) => other >= run || this.#isDead(seen))
  }

  #isDead({ since }: { since: number }): boolean {
    return this.#needs.scheduler.now() - since > DEAD_MS
  }

  #later(): void {
    if (this.#closed) return
    this.#cancel = this.#needs.scheduler.after(BEAT_MS, () => {
      this.#working = this.#work()
        .catch(error => this.#needs.failed('nodes', error))
        .finally(() => this.#later())
    })
  }

  async #work(): Promise<void> {
    const { records, scheduler, run } = this.#needs
    // Taken before the rows are read: what this process slept through in between is no silence of others.
    const now = scheduler.now()
    // It may have been taken for dead itself.
    if (now - this.#beatAt > DEAD_MS) {
      this.#needs.died()
      // It slept, or the clock was set ahead: that the others were not heard says nothing of them.
      for (const seen of this.#seen.values()) seen.since = now
    }
    await this.#write()
    this.#beatAt = now
    const rows = await records.scan(NODES, ALL, { limit: MAX_NODES })
    for (const { key, version } of rows) {
      if (key === run) continue
      const seen = this.#seen.get(key)
      if (seen?.beat !== version) this.#seen.set(key, { beat: version, since: now })
      else if (this.#isDead(seen)) await this.#bury(key, version)
    }
    this.#look(rows)
    for (const [key, { since }] of this.#seen) {
      if (rows.some(row => row.key === key)) continue
      this.#seen.delete(key)
      // Buried by another survivor, or by its next run: one that ends in order is gone a moment after its last beat.
      const isReplaced = rows.some(({ row }) => row.node === nodeOf(key))
      if (isReplaced || now - since > DEAD_MS / 2) this.#needs.died()
    }
  }

  /** Earlier runs of this name are buried by the next: one that is there besides lives, and its sessions were given up. */
  #look(rows: readonly Found<NodeRow>[]): void {
    const { run, cluster, failed, died } = this.#needs
    const namesake = rows.find(({ key, row }) => key !== run && row.node === cluster.node)?.key
    if (namesake !== undefined && namesake !== this.#namesake) {
      failed('nodes', new Error(`another server lives as ${cluster.node}: give each an IM_NODE of its own`))
      died()
    }
    this.#namesake = namesake
  }

  /** Every survivor may do so at once. */
  async #bury(dead: string, beat: number): Promise<void> {
    this.#needs.died()
    await this.#needs.recover(dead)
    await this.#needs.records.write([removeRanked(NODES, ALL, dead, beat)])
    this.#seen.delete(dead)
  }

  async #write(): Promise<void> {
    const { records, cluster, run } = this.#needs
    const row = { node: cluster.node, startedAt: this.#startedAt }
    await records.write([putRanked(NODES, ALL, run, row, ++this.#beat)])
  }

  /** `isWritten`: nothing of this node is left connected; otherwise the others bury it, as if it had died. */
  async close(isWritten: boolean): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    await this.#working
    if (!isWritten) return
    const { records, run, failed } = this.#needs
    await records.write([removeRanked(NODES, ALL, run, this.#beat + 1)]).catch(error => failed('nodes', error))
  }
}
