/** What this node knows of a conversation: where it ends, with everything up to there told to followers, whoever appended it. */
import type { StoredEntry } from '../../core/entry.ts'
import type { ConversationKey } from '../../core/ports.ts'
import { channelOf, frameOf, readFrame } from './announced.ts'
import type { End } from './ends.ts'
import type { Shared } from './log.ts'
import { pauseOf } from './pauses.ts'
import { Settling, type Span } from './settling.ts'
import { Teller } from './teller.ts'

/** Entries behind another node's within which it is told what is made of this one's. */
const NEAR = 100

export class View {
  readonly #shared: Shared
  readonly #conversation: ConversationKey
  readonly #teller: Teller
  readonly #settling: Settling
  #end: End | undefined
  /** How often something was put behind the end that may be there, and how many of these a look has seen. */
  #doubts = 0
  #cleared = 0
  /** When the end was last read, on the clock of `performance`. */
  lookedAt = 0
  /** How often other nodes were found to have appended. */
  others = 0
  /** The newest entry that is theirs. */
  #theirs = Number.NEGATIVE_INFINITY
  #watchers = 0
  #looking: Promise<void> | undefined
  /** Asked for while one was under way, whose end may have been read before. */
  #lookAgain = false
  #announcing = false
  #unsubscribe: (() => void) | undefined
  /** Ends when what others announce comes. */
  #listening: Promise<void> | undefined

  constructor(shared: Shared, conversation: ConversationKey) {
    this.#shared = shared
    this.#conversation = conversation
    this.#teller = new Teller(shared, conversation)
    this.#settling = new Settling(shared, conversation)
  }

  get isIdle(): boolean {
    return this.#looking === undefined && this.#watchers === 0
  }
  /** It is listened to: what is missed of it is looked for. */
  get isFollowed(): boolean {
    return this.#unsubscribe !== undefined
  }
  /** Somebody here is told of what others append. */
  get isWatched(): boolean {
    return this.#watchers > 0
  }

  /** The end, when everything up to there is told: whoever judges an append knows what was before it. */
  async now(): Promise<End> {
    if (!this.#end || this.#isUnsure) await this.learn(true)
    await this.#teller.idle()
    return this.#end as End
  }

  /** This node has appended; the promise, if any, ends when followers have been told. */
  appended(entries: readonly StoredEntry[], end: End): Promise<void> | undefined {
    this.#moveTo(end)
    const told = this.#teller.tell(entries)
    this.#shared.bus?.publish(channelOf(this.#conversation), frameOf(entries))
    return told
  }

  /** The record changes of entries of this node are made. */
  made(span: Span): void {
    this.#settling.made(span)
    const [from, to] = span
    if (from - this.#theirs <= NEAR) this.#shared.bus?.publish(channelOf(this.#conversation), frameOf([], to, span))
  }

  /** Resolves when nothing is left to be written of it. */
  settled(): Promise<void> {
    return this.#settling.idle()
  }

  /** Reads the end, with `serial` after what is under way there has ended; tells what others have appended. */
  async learn(serial: boolean): Promise<End> {
    const { bus, ends } = this.#shared
    if (bus && !this.#unsubscribe) {
      this.#unsubscribe = bus.subscribe(channelOf(this.#conversation), message => this.#heard(message))
      this.#listening = bus.settled()
    }
    await this.#listening
    const doubts = this.#doubts
    this.lookedAt = performance.now()
    const end = await ends.find(this.#conversation, serial)
    await this.#shared.settle(this.#conversation, end)
    this.#settling.reached(end.seq)
    if (serial) this.#cleared = Math.max(this.#cleared, doubts)
    if (this.#end && end.seq > this.#end.seq) this.#others(end.seq)
    if (this.#end) await this.#teller.reach(end.seq)
    else {
      this.#teller.begin(end.seq)
      this.#shared.lost(this.#conversation)
    }
    this.#moveTo(end)
    return this.#end as End
  }

  /** Until the returned function is called, entries of others are told as well. */
  watch(): () => void {
    this.#watchers++
    if (!this.#end) void this.look()
    let watches = true
    return () => {
      if (watches) this.#watchers--
      watches = false
    }
  }

  /** Reads the end, and tells what was not; tried until it can be read. Never rejects. */
  look(): Promise<void> {
    if (this.#shared.closed()) return Promise.resolve()
    if (this.#looking) this.#lookAgain = true
    this.#looking ??= this.#lookOnce()
    return this.#looking
  }

  async #lookOnce(): Promise<void> {
    const { closed, pause } = this.#shared
    for (let tries = 0; !closed(); tries++) {
      try {
        this.#lookAgain = false
        await this.learn(this.#isUnsure)
        if (!this.#lookAgain) break
      } catch {
        await pause(pauseOf(tries))
      }
    }
    this.#looking = undefined
  }

  get #isUnsure(): boolean {
    return this.#doubts > this.#cleared
  }

  /** What was put behind the end may be there, and nobody was told of it. */
  doubt(): void {
    this.#doubts++
    this.announce()
  }

  /** When the end can be read, what is behind the one that was known is told here, and the others that there is something. */
  announce(): void {
    void this.look()
    // One waits for all: storage may be away for long, and much be tried.
    if (!this.#announcing) void this.#announceLooked()
  }

  async #announceLooked(): Promise<void> {
    this.#announcing = true
    while (this.#looking) await this.#looking
    this.#announcing = false
    if (this.#end) this.#shared.bus?.publish(channelOf(this.#conversation), frameOf([], this.#end.seq))
  }

  /** Somebody has read that the conversation goes up to there. */
  reaches(seq: number): void {
    if (this.#end && seq > this.#end.seq) void this.look()
  }

  /** Nothing is known here any more. */
  forget(): void {
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
    this.#listening = undefined
    if (this.#end) this.#shared.lost(this.#conversation)
    this.#end = undefined
    this.#teller.forget()
  }

  #heard(message: Buffer): void {
    const heard = readFrame(message)
    if (heard?.made) this.#settling.said(heard.made)
    if (!heard || !this.#end || heard.to <= this.#end.seq) return
    const { entries } = heard
    const [first, last] = [entries[0], entries.at(-1)]
    if (!first || !last || first.seq > this.#end.seq + 1) {
      void this.look()
      return
    }
    this.#others(last.seq)
    this.#moveTo({ ...this.#end, seq: last.seq, n: last.n, sentAt: last.sentAt })
    void this.#teller.tell(entries, true)
  }

  #others(upTo: number): void {
    this.others++
    this.#theirs = upTo
  }

  #moveTo(end: End): void {
    if (this.#end && end.seq < this.#end.seq) return
    this.#end = { ...end, bucket: this.#shared.ends.bucketOf(end.seq) }
  }
}
