/**
 * What a session published, for publishes without a clientMessageId: a PUBLISH that comes again with DUP=1 is the one
 * that is here. The last 100 of QoS 1, until DISCONNECT or until the packet id comes again with DUP=0; of QoS 2 at most
 * 1,000, until PUBREL [MQTT-4.3.3-2]. Rows are written with the append that they are about.
 */
import { createHash } from 'node:crypto'
import { type Change, putRanked, type Records, removeRanked, type ScanRange } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import { ORIGINS, rankOf } from './session-rows.ts'

interface OriginRow {
  /** Packet id. */
  p: number
  /** Hash of topic and payload. */
  h: string
  /** Order of arrival. */
  o: number
}
interface Published {
  packetId: number
  qos: 1 | 2
  dup: boolean
  topic: string
  payload: Uint8Array
}

const KEPT = 100
const MAX_QOS2 = 1_000

export class Origins {
  readonly #records: Records
  readonly #key: string
  /** Packet id → hash and slot, of QoS 1. */
  readonly #known = new Map<number, { hash: string; slot: number }>()
  readonly #slots: (number | undefined)[] = []
  /** Key → what is left there if a publish is not stored that has the packet id of one before. */
  readonly #again = new Map<string, OriginRow>()
  /** Came when it could not be read what was before them. */
  readonly #unread: Published[] = []
  readonly #qos2 = new Map<number, string>()
  /** Of those, what this session has not released: also without DUP it is the same publish [MQTT-4.3.3-2]. */
  readonly #unreleased = new Set<number>()
  readonly #resumed: boolean
  /** Of the newest. What is put next is above it, also above what was removed. */
  #order: number
  /** What is ranked from here on is of this connection. */
  readonly #begin: number
  /** Of the newest of QoS 1; the next one takes the place of the oldest. */
  #slot = 0
  #loaded: Promise<void> | undefined

  /** `resumed`: what is left is of the same session, not of one before a clean start. */
  constructor(records: Records, sessionKey: string, epoch: number, resumed: boolean) {
    this.#records = records
    this.#begin = rankOf(epoch, 0)
    this.#order = this.#begin
    this.#resumed = resumed
    this.#key = sessionKey
  }

  /** Reads what the connection before left; nothing to wait for once it has. A publish that it fails for is not stored. */
  load(publish?: Published): Promise<void> | undefined {
    if (this.#loaded === DONE) return undefined
    this.#loaded ??= this.#read().then(
      () => {
        this.#loaded = DONE
      },
      error => {
        this.#loaded = undefined
        throw error
      },
    )
    if (publish?.qos === 1) this.#loaded.catch(() => this.#unread.length < KEPT && this.#unread.push(publish))
    return this.#loaded
  }

  async #read(): Promise<void> {
    const of = (range: ScanRange) => this.#records.scan(ORIGINS, this.#key, range)
    // Keys of QoS 1 are digits, and so come first.
    const [first, qos2] = await Promise.all([of({ limit: KEPT }), of({ prefix: 'q', limit: MAX_QOS2 })])
    const rows = [...first.filter(({ key }) => !key.startsWith('q')), ...qos2]
    const found = rows.map(({ key, row }) => ({ key, ...(row as OriginRow) })).sort((a, b) => a.o - b.o)
    for (const { key, p, h, o } of found) {
      this.#order = Math.max(this.#order, o)
      if (key.startsWith('q')) {
        this.#qos2.set(p, h)
        if (this.#resumed) this.#unreleased.add(p)
        continue
      }
      this.#slot = Number(key)
      this.#take(this.#slot, p, h)
    }
  }

  /** Whether an earlier connection may have published it. What a clean start sends without DUP is new. */
  mayRepeat({ dup, qos }: Pick<Published, 'dup' | 'qos'>): boolean {
    return dup || (qos === 2 && this.#resumed)
  }

  /** Whether an earlier connection of the session, on whichever node, has it stored by now. */
  async isStored({ packetId, qos, topic, payload }: Published): Promise<boolean> {
    const hash = hashOf(topic, payload)
    const of = (range: ScanRange) => this.#records.scan(ORIGINS, this.#key, range)
    const rows = qos === 2 ? await of({ prefix: `q${packetId}`, limit: 1 }) : await of({ limit: KEPT })
    // What had the packet id before that was acknowledged, or it would not have been given again.
    const newest = rows
      .map(({ row }) => row as OriginRow)
      .filter(({ p, o }) => p === packetId && o < this.#begin)
      .reduce<OriginRow | undefined>((last, one) => (last && last.o > one.o ? last : one), undefined)
    return newest?.h === hash
  }

  #take(slot: number, packetId: number, hash: string): void {
    const before = this.#slots[slot]
    if (before !== undefined && this.#known.get(before)?.slot === slot) this.#known.delete(before)
    this.#slots[slot] = packetId
    this.#known.set(packetId, { hash, slot })
  }

  /** The record changes that remember a publish, or `'repeated'` where it is here already. After `load`. */
  remember({ packetId, qos, dup, topic, payload }: Published): Change[] | 'repeated' {
    const hash = hashOf(topic, payload)
    const row: OriginRow = { p: packetId, h: hash, o: ++this.#order }
    if (qos === 2) {
      const before = this.#qos2.get(packetId)
      if ((dup || this.#unreleased.has(packetId)) && before === hash) return 'repeated'
      if (this.#qos2.size >= MAX_QOS2 && before === undefined) throw new Fault('too-many-requests')
      this.#qos2.set(packetId, hash)
      this.#unreleased.add(packetId)
      return this.#put(`q${packetId}`, row, before !== undefined)
    }
    const before = this.#known.get(packetId)?.hash
    if (dup && before === hash) return 'repeated'
    this.#known.delete(packetId)
    this.#slot = (this.#slot + 1) % KEPT
    this.#take(this.#slot, packetId, hash)
    return this.#put(String(this.#slot), row, before !== undefined)
  }

  #put(key: string, row: OriginRow, isAgain: boolean): Change[] {
    this.#again.delete(key)
    if (isAgain) {
      // Below the row that goes with the append, in its place: that one stands when it comes after all.
      this.#again.set(key, { ...row, h: '' })
      row.o = ++this.#order
    }
    return [putRanked(ORIGINS, this.#key, key, row, row.o)]
  }

  /** The publish is here. */
  stored(packetId: number, qos: 1 | 2): void {
    for (const [key, { p }] of this.#again)
      if (p === packetId && key.startsWith('q') === (qos === 2)) this.#again.delete(key)
  }

  /** Changes behind which none that was not stored is taken for one before it. @throws Fault `log-unavailable` */
  async left(): Promise<Change[]> {
    if (this.#unread.length > 0) await this.load()
    for (const publish of this.#unread.splice(0)) this.remember(publish)
    return [...this.#again].map(([key, row]) => putRanked(ORIGINS, this.#key, key, row, row.o))
  }

  /** The publish was refused or its outcome is unknown: it is not here. */
  forget(packetId: number, qos: 1 | 2): void {
    if (qos === 2) this.#drop(packetId)
    else this.#known.delete(packetId)
  }

  /** PUBREL: the packet id may be used for something new. Durable when it resolves. */
  async release(packetId: number): Promise<void> {
    // It may be the first that comes on a connection: what was published on the one before is let go of as well.
    await this.load()
    if (!this.#drop(packetId)) return
    await this.#records.write([removeRanked(ORIGINS, this.#key, `q${packetId}`, this.#order)])
  }

  #drop(packetId: number): boolean {
    this.#unreleased.delete(packetId)
    return this.#qos2.delete(packetId)
  }

  /** DISCONNECT: the client has nothing left to repeat. */
  async clear(): Promise<void> {
    this.#again.clear()
    this.#unread.length = 0
    // What an earlier connection published is dropped, too.
    await this.load()
    const used = [...this.#slots.keys()].filter(slot => this.#slots[slot] !== undefined)
    if (used.length > 0)
      await this.#records.write(
        used.map(slot => removeRanked(ORIGINS, this.#key, String(slot), this.#order)),
        { durable: false },
      )
    this.#known.clear()
    this.#slots.length = 0
  }
}

const hashOf = (topic: string, payload: Uint8Array) =>
  createHash('sha256').update(topic).update('\0').update(payload).digest('base64').slice(0, 24)

const DONE = Promise.resolve()
