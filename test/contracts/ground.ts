/** What a contract suite stands on: one engine's storage with a clock of the test's, opened as often as the test likes. */
import type { TestContext } from 'node:test'
import type { Clock, ConversationKey, EntryDraft, MessageLog, Records, Storage } from '../../core/ports.ts'
import { Fault, type FaultCode } from '../../protocol/faults.ts'
import type { Sender, Seq } from '../../protocol/ids.ts'

export class TestClock implements Clock {
  time = 1_790_000_000_000
  now(): number {
    return this.time
  }
}

export interface Engine {
  name: string
  /** Whether what was closed can be opened again. */
  keeps: boolean
  /** Whether nobody else writes: changes of an append are asked for once, and a write and an append come as they are called. */
  alone: boolean
  /** The share of each property's runs that is played, where they take long; 1 as long as nothing else is said. */
  share?: number
  /** Fresh storage for one test; `open` opens the same data each time. Whatever it holds goes with the test. */
  make(t: TestContext): Promise<{ open(clock: Clock): Promise<Storage> }>
}

export const runsOf = ({ share = 1 }: Engine, runs: number): number => Math.ceil(runs * share)

export class Ground implements AsyncDisposable {
  readonly clock = new TestClock()
  readonly #open: (clock: Clock) => Promise<Storage>
  #storage: Storage | undefined

  private constructor(open: (clock: Clock) => Promise<Storage>) {
    this.#open = open
  }

  static async of(engine: Engine, t: TestContext): Promise<Ground> {
    const { open } = await engine.make(t)
    const ground = new Ground(open)
    t.after(() => ground[Symbol.asyncDispose]())
    ground.#storage = await open(ground.clock)
    return ground
  }

  get log(): MessageLog {
    return this.#opened.log
  }
  get records(): Records {
    return this.#opened.records
  }

  async reopen(): Promise<void> {
    await this[Symbol.asyncDispose]()
    this.#storage = await this.#open(this.clock)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#storage?.[Symbol.asyncDispose]()
    this.#storage = undefined
  }

  get #opened(): Storage {
    if (!this.#storage) throw new Error('The storage is closed.')
    return this.#storage
  }
}

export const conversation = (id: string) => `im/${id}` as ConversationKey
export const seq = (number: number) => number as Seq
export const OPS = conversation('g:ops')

export const says = (text: string, clientMessageId?: string, from = 'alice'): EntryDraft => ({
  kind: 'message',
  from: from as Sender,
  body: { type: 'text', text, ...(clientMessageId !== undefined && { clientMessageId }) },
})
export const recalls = (target: number, kind: 'recall' | 'burn' = 'recall', from = 'alice'): EntryDraft => ({
  kind,
  from: from as Sender,
  body: { target },
})

/** For `assert.rejects`. */
export const fault = (code: FaultCode) => (thrown: unknown) => {
  if (thrown instanceof Fault && thrown.code === code) return true
  throw thrown
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, nth) => from + nth)
}
