/** What storage says of a member in a conversation, where what was heard is not enough. */
import type { Membership, Memberships, MessageLog, Scheduler } from '../core/ports.ts'
import type { Cursor } from './cursor.ts'
import type { SessionId } from './session-rows.ts'

export interface LooksNeeds {
  log: Pick<MessageLog, 'tails'>
  memberships: Pick<Memberships, 'stored'>
  scheduler: Scheduler
  failed(where: string, error: unknown): void
}

/** What could not be looked at is looked at again so much later. */
const AGAIN_MS = 1_000

export class Looks {
  readonly #of: Pick<SessionId, 'app' | 'member'>
  readonly #needs: LooksNeeds

  constructor(of: Pick<SessionId, 'app' | 'member'>, needs: LooksNeeds) {
    this.#of = of
    this.#needs = needs
  }

  /**
   * Where the member came in, if they are, and how far the conversation went: the end first, so that whoever left up to there is
   * seen as out, and a later leave is told before what follows it.
   */
  async at({ key, conversation }: Cursor): Promise<{ tail: number; place: Membership | undefined }> {
    const { log, memberships } = this.#needs
    const [tail] = await log.tails([key])
    const place = await memberships.stored(this.#of.app, this.#of.member, conversation)
    return { tail: tail?.seq ?? 0, place }
  }

  /** Until storage has answered, or it is over. */
  surely(look: () => Promise<void>, over: () => boolean): void {
    const { failed, scheduler } = this.#needs
    look().catch(error => {
      failed('following', error)
      scheduler.after(AGAIN_MS, () => {
        if (!over()) this.surely(look, over)
      })
    })
  }
}
