/** Keeps a link to the server up: opens it, opens it again with backoff and jitter, and stops where trying does not help. */
import { type Ending, type Link, type LinkOptions, openLink, type Received } from './link.ts'
import { Refusal, refusalOf } from './refusal.ts'

export interface ConnectionNeeds {
  options: Omit<LinkOptions, 'username' | 'password'>
  filters: Record<string, { qos: 0 | 1 }>
  /** `renew`: the last ones were refused. @throws Refusal */
  credentials: (renew: boolean) => Promise<{ username: string; password: string }>
  received: Received
  /** CONNACK came; nothing was subscribed yet. */
  opened: (link: Link) => void
  /** The link is up. */
  up: (link: Link) => void
  /** The link is down; `again`: another one will be tried. */
  down: (refusal: Refusal, again: boolean) => void
  random: () => number
}

const FIRST_MS = 250
const LONGEST_MS = 30_000
/** A link that lives this long was a good one. */
const GOOD_MS = 10_000

/** Full jitter: clients that were cut off together do not come back together. */
export const backoff = (attempt: number, random: number): number =>
  random * Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 16))

export class Connection {
  readonly #needs: ConnectionNeeds
  #wanted = false
  #running: Promise<void> | undefined
  #link: Link | undefined
  #attempt = 0
  #wake: () => void = () => undefined

  constructor(needs: ConnectionNeeds) {
    this.#needs = needs
  }

  get link(): Link | undefined {
    return this.#link
  }

  start(): void {
    this.#wanted = true
    this.#attempt = 0
    this.#wake()
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  /** Resolves when the connection is closed; the session on the server stays. */
  async stop(): Promise<void> {
    this.#wanted = false
    this.#wake()
    this.#link?.close()
    await this.#running
  }

  /** Something was achieved on the link, so the next failure is a first one. */
  progress(): void {
    this.#attempt = 0
  }

  async #run(): Promise<void> {
    let renew = false
    while (this.#wanted) {
      const refusal = await this.#once(renew)
      const stale = RENEWABLE.has(refusal.code)
      const again = this.#wanted && !HOPELESS.has(refusal.code) && !(stale && renew)
      renew = stale
      if (!again) this.#wanted = false
      this.#needs.down(refusal, again)
      // A token that has run out is no failure of the server's: its successor is tried at once.
      if (again && !(renew && this.#attempt === 0)) await this.#pause(this.#attempt)
      this.#attempt += 1
    }
  }

  /** One link, from its making to its end. */
  async #once(renew: boolean): Promise<Refusal> {
    const startedAt = Date.now()
    try {
      const credentials = await this.#credentials(renew)
      if (!this.#wanted) return new Refusal('closed')
      const link = await openLink({ ...this.#needs.options, ...credentials }, this.#needs.received)
      this.#needs.opened(link)
      await link.subscribe(this.#needs.filters).catch(ending => {
        link.close()
        throw ending
      })
      this.#link = link
      if (this.#wanted) this.#needs.up(link)
      else link.close()
      const ending = await link.ended
      return this.#wanted ? asRefusal(ending) : new Refusal('closed')
    } catch (thrown) {
      return thrown instanceof Refusal ? thrown : asRefusal(thrown as Ending)
    } finally {
      this.#link = undefined
      if (Date.now() - startedAt > GOOD_MS) this.#attempt = 0
    }
  }

  /** A final refusal of the log-in itself ends the trying. */
  async #credentials(renew: boolean): Promise<{ username: string; password: string }> {
    try {
      return await this.#needs.credentials(renew)
    } catch (thrown) {
      if (thrown instanceof Refusal && !thrown.final) throw thrown
      throw new Refusal('signed-out', { cause: thrown })
    }
  }

  async #pause(attempt: number): Promise<void> {
    // A browser tells when the network is back; Node has no such event.
    const page = globalThis as Partial<Pick<EventTarget, 'addEventListener' | 'removeEventListener'>>
    await new Promise<void>(resolve => {
      const timer = setTimeout(() => this.#wake(), backoff(attempt, this.#needs.random()))
      this.#wake = () => {
        clearTimeout(timer)
        page.removeEventListener?.('online', this.#wake)
        resolve()
      }
      page.addEventListener?.('online', this.#wake)
    })
  }
}

/** Refusals of a token; a new one may help. */
const RENEWABLE: ReadonlySet<string> = new Set(['bad-credentials', 'token-expired', 'token-revoked', 'not-signed-in'])

/** Trying again would change nothing, or take the session back from whoever holds it now. */
const HOPELESS: ReadonlySet<string> = new Set(['session-taken-over', 'identifier-rejected', 'signed-out'])

/** The end of a link in words; reason codes that fit several rows mean the one that ends connections. */
function asRefusal({ packet, reasonCode, says, cause }: Ending): Refusal {
  if (!packet || !reasonCode) return new Refusal('unreachable', { cause })
  return refusalOf(packet, reasonCode, says)
}
