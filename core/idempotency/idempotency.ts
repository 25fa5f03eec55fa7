/**
 * `Idempotency-Key`: a POST that is repeated with the same key within 24 hours, at whichever server, is not done again. A send
 * takes it for its clientMessageId, where it names none, and is known by it for as long as by those. Of other operations the
 * answer is kept and given again; only where the outcome is unknown, as after a server has died in the middle, may the repeat
 * do it once more.
 */
import { createHmac, hkdfSync } from 'node:crypto'
import { Fault } from '../../protocol/faults.ts'
import type { OperationName } from '../../protocol/operations.ts'
import type { Known } from '../caller.ts'
import { Due } from '../due.ts'
import { type Answer, type Idempotency, remove } from '../ports.ts'
import { ANSWERS, type AnswerRow, malformedKey, Slot, type SlotNeeds } from './answers.ts'

/** Whoever has shown nothing of what it does for so long is taken for dead. */
const DEAD_MS = 20_000
/** A repeat waits so long for the answer. */
const PATIENCE_MS = 30_000
const PAUSE_MS = 50
const MAX_PAUSE_MS = 1_000
/** Answers whose time is over go, so many at once and so often at most: 50 a second, as long as others come. */
const SWEPT = 500
const SWEEP_MS = 10_000

export class KeptAnswers implements Idempotency {
  readonly #needs: SlotNeeds
  readonly #over: Due<AnswerRow>
  #sweptAt = Number.NEGATIVE_INFINITY

  constructor(needs: SlotNeeds) {
    this.#needs = needs
    this.#over = new Due(ANSWERS, 'over', needs)
  }

  async once(
    name: OperationName,
    caller: Known,
    key: string,
    input: object,
    act: () => Promise<Answer>,
  ): Promise<Answer> {
    const slot = this.#slot(name, caller, key, input)
    // Counted in pauses: clocks are set.
    let waitedMs = 0
    let seen = { doing: '', sinceMs: 0 }
    for (let pauseMs = PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      const { version, doing, answer } = await slot.look()
      if (answer) return answer
      if (doing !== undefined && doing !== seen.doing) seen = { doing, sinceMs: waitedMs }
      const isFree = doing === undefined || waitedMs - seen.sinceMs >= DEAD_MS
      if (isFree && (await slot.begin(version))) return this.#perform(slot, act)
      if (waitedMs >= PATIENCE_MS) throw new Fault('conflict')
      await new Promise<void>(resolve => this.#needs.scheduler.after(pauseMs, resolve))
      waitedMs += pauseMs
    }
  }

  messageId(name: OperationName, caller: Known, key: string): string {
    return secretsOf(name, caller, key)('message').toString('base64url')
  }

  async #perform(slot: Slot, act: () => Promise<Answer>): Promise<Answer> {
    void this.#sweep()
    return slot.perform(act)
  }

  #slot(name: OperationName, caller: Known, key: string, input: object): Slot {
    const secret = secretsOf(name, caller, key)
    const request = createHmac('sha256', secret('request')).update(JSON.stringify(input)).digest('base64url')
    const place = { partition: partitionOf(caller), key: secret('key').toString('base64url'), request }
    return new Slot({ ...place, secret: secret('seal') }, this.#needs)
  }

  /** What cannot be removed now, or is by another server, comes up again. */
  async #sweep(): Promise<void> {
    const { records, scheduler } = this.#needs
    if (Math.abs(scheduler.now() - this.#sweptAt) < SWEEP_MS) return
    this.#sweptAt = scheduler.now()
    const over = await this.#over.first(SWEPT).catch(() => [])
    for (const { partition, key, version } of over)
      await records.write([remove(ANSWERS, partition, key, version)]).catch(() => {})
  }
}

const partitionOf = ({ app, member }: Known) => `${app}/${member}`

/** 256 bits for each purpose, which nobody can make who has not the key, nor from one another. */
function secretsOf(name: OperationName, caller: Known, key: string) {
  if (!/^[\x20-\x7e]{1,255}$/.test(key)) throw malformedKey('It takes 1 to 255 ASCII characters.')
  return (purpose: string) => Buffer.from(hkdfSync('sha256', key, partitionOf(caller), `im ${name} ${purpose}`, 32))
}
