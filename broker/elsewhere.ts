/**
 * Publishes without an id of their own, of a session that moves between nodes: the node before may still be storing what the
 * client sends again here. Both append by compare-and-set on the same end, so it is enough that each looks before it does:
 * the one before, whether the session has gone on; the next, whether the publish is there.
 */
import type { ConversationKey, MessageLog } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import type { InboundPublish } from './ingress.ts'
import type { Origins } from './origins.ts'
import type { Session } from './session.ts'
import type { SessionStore } from './sessions.ts'

/** It is stored: nothing is left to do. */
export class Repeated extends Error {}

interface Needs {
  store: Pick<SessionStore, 'standing'>
  log: Pick<MessageLog, 'tails'>
}

export class Elsewhere {
  readonly #needs: Needs

  constructor(needs: Needs) {
    this.#needs = needs
  }

  /** @throws Fault `log-unavailable`, caused by `Repeated` where an earlier connection has it stored */
  async judge(
    publish: InboundPublish & { qos: 1 | 2 },
    conversation: ConversationKey,
    session: Session,
    origins: Origins,
  ): Promise<void> {
    const { store, log } = this.#needs
    const [standing] = await store.standing([session.record.row])
    if (standing === 'elsewhere')
      throw new Fault('log-unavailable', {}, { cause: new Error('The session goes on elsewhere.') })
    if (!origins.mayRepeat(publish)) return
    // What belongs to the last entries is written when this resolves, also where the node that appended them has died.
    await log.tails([conversation])
    if (await origins.isStored(publish)) throw new Fault('log-unavailable', {}, { cause: new Repeated() })
  }
}
