/**
 * `Idempotency-Key`: a POST that is repeated with the same key within 24 hours, at whichever server, gets the answer of the
 * first, and is not done again. Only where a server dies after it has begun may the repeat do it once more, 20 seconds later.
 * Sends do not need it: there a clientMessageId serves, and does not end.
 */
import { createCipheriv, createDecipheriv, createHash, hkdfSync } from 'node:crypto'
import type { Caller, Known } from '../core/caller.ts'
import { put, type Random, type Records, remove, type Scheduler, sortable, table } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import type { EpochMs } from '../protocol/ids.ts'
import { type OperationName, rowOf } from '../protocol/operations.ts'

export interface Answer {
  status: number
  body?: Buffer
}
/** Partition: app/member; key: made of the operation and the key, which itself is not kept. */
interface AnswerRow {
  /** SHA-256 of the request: another one under the same key is refused. */
  request: string
  /** Until then it counts: what has begun and not ended by then is begun anew. */
  until: EpochMs
  /** Absent while it is being done. */
  status?: number
  /** Sealed by the key, as it may hold a secret that was handed out. */
  body?: string
}
export const ANSWERS = table<AnswerRow>(
  'answers',
  { over: ({ until }, { partition }) => ({ partition, sort: sortable(until) }) },
  { spread: true },
)

const KEEP_MS = 24 * 3_600_000
/** An operation takes less, and a server that has not answered by then has died. */
const DOING_MS = 20_000
const PAUSE_MS = 50
const MAX_PAUSE_MS = 1_000
/** Answers of the same caller that are over go with each new one: more than come. */
const SWEPT = 4

export interface AnswersNeeds {
  records: Pick<Records, 'get' | 'scan' | 'write'>
  scheduler: Pick<Scheduler, 'now' | 'after'>
  random: Random
}
/** Where the answer to one request is kept. */
interface Slot {
  partition: string
  key: string
  request: string
  seal: Seal
}

export class Answers {
  readonly #needs: AnswersNeeds

  constructor(needs: AnswersNeeds) {
    this.#needs = needs
  }

  /** How to do this request once; nothing where the key does not apply. @throws Fault `malformed` · `conflict`: it is still being done */
  slot(name: OperationName, caller: Caller, key: string, body: unknown, params: unknown) {
    if (key === '' || caller.kind === 'nobody' || !rowOf(name).rest.startsWith('POST')) return undefined
    if (!/^[\x20-\x7e]{1,255}$/.test(key)) throw malformed('It takes 1 to 255 ASCII characters.')
    const slot = this.#slotOf(name, caller, key, JSON.stringify([params, body]))
    return (act: () => Promise<Answer>): Promise<Answer> => this.#once(slot, act)
  }

  #slotOf(name: OperationName, { app, member }: Known, key: string, request: string): Slot {
    const partition = `${app}/${member}`
    const secrets = Buffer.from(hkdfSync('sha256', key, partition, `im idempotency ${name}`, 64))
    return {
      partition,
      key: secrets.subarray(32).toString('base64url'),
      request: createHash('sha256').update(request).digest('base64url'),
      seal: new Seal(secrets.subarray(0, 32), this.#needs.random),
    }
  }

  async #once(slot: Slot, act: () => Promise<Answer>): Promise<Answer> {
    const { records, scheduler } = this.#needs
    const patience = scheduler.now() + DOING_MS + MAX_PAUSE_MS
    for (let pauseMs = PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      const found = await records.get(ANSWERS, slot.partition, slot.key)
      const now = scheduler.now()
      const row = found && found.row.until > now ? found.row : undefined
      if (row && row.request !== slot.request) throw malformed('It was used for a different request.')
      if (row?.status !== undefined) return answerOf(row.status, slot.seal.open(row.body))
      if (!row && (await this.#begin(slot, found?.version ?? 0))) return this.#do(slot, (found?.version ?? 0) + 1, act)
      if (now > patience) throw new Fault('conflict')
      await new Promise<void>(resolve => scheduler.after(pauseMs, resolve))
    }
  }

  /** Whether it is this one that does it. */
  #begin({ partition, key, request }: Slot, version: number): Promise<boolean> {
    const row: AnswerRow = { request, until: this.#needs.scheduler.now() + DOING_MS }
    return this.#write(put(ANSWERS, partition, key, row, version), { durable: false })
  }

  async #do(slot: Slot, version: number, act: () => Promise<Answer>): Promise<Answer> {
    const { partition, key, request, seal } = slot
    let answer: Answer
    try {
      answer = await act()
    } catch (thrown) {
      // A refusal is not kept: it may be tried again. What is left of it would only make that wait.
      await this.#write(remove(ANSWERS, partition, key, version)).catch(() => {})
      throw thrown
    }
    const { status, body } = answer
    const until = this.#needs.scheduler.now() + KEEP_MS
    const row: AnswerRow = { request, until, status, ...(body && { body: seal.close(body) }) }
    // It is done, and said to be, also where that cannot be kept.
    await this.#write(put(ANSWERS, partition, key, row, version)).catch(() => {})
    this.#sweep(partition).catch(() => {})
    return answer
  }

  async #sweep(partition: string): Promise<void> {
    const below = sortable(this.#needs.scheduler.now())
    const over = await this.#needs.records.scan(ANSWERS, partition, { index: 'over', below, limit: SWEPT })
    for (const { key, version } of over) await this.#write(remove(ANSWERS, partition, key, version))
  }

  /** Whether nobody else was first. */
  async #write(...[change, options]: [Parameters<Records['write']>[0][number], { durable: false }?]): Promise<boolean> {
    try {
      await this.#needs.records.write([change], options)
      return true
    } catch (thrown) {
      if (thrown instanceof Fault && thrown.code === 'conflict') return false
      throw thrown
    }
  }
}

const malformed = (message: string) => new Fault('malformed', { issues: [{ path: ['Idempotency-Key'], message }] })
const answerOf = (status: number, body: Buffer | undefined): Answer => ({ status, ...(body && { body }) })

const IV_BYTES = 12
const TAG_BYTES = 16

/** AES-256-GCM: IV, tag and text, in base64. */
class Seal {
  readonly #key: Buffer
  readonly #random: Random

  constructor(key: Buffer, random: Random) {
    this.#key = key
    this.#random = random
  }

  close(text: Buffer): string {
    const iv = this.#random.bytes(IV_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#key, iv)
    const sealed = Buffer.concat([cipher.update(text), cipher.final()])
    return Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64')
  }

  open(text: string | undefined): Buffer | undefined {
    if (text === undefined) return undefined
    const bytes = Buffer.from(text, 'base64')
    const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, IV_BYTES))
    decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES))
    return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)), decipher.final()])
  }
}
