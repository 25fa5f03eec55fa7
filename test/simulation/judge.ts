/** Plays a seed and judges it. */
import { check } from '../checker/check.ts'
import type { Finding } from '../checker/history.ts'
import type { Image } from './image.ts'
import { play } from './play.ts'

export interface Judged {
  seed: number
  /** Breaches of the promise, and mistakes that the server told of. */
  breaches: string[]
  acknowledged: number
  received: number
  faults: number
}

const told = ({ verdict, says }: Finding) => `${verdict}: ${says}`

export async function judge(seed: number, image: Image): Promise<Judged> {
  try {
    const { history, failures } = await play(seed, image)
    const count = (what: string) => history.reduce((sum, operation) => sum + (operation.do === what ? 1 : 0), 0)
    return {
      seed,
      // The run knows when the server handed over each byte.
      breaches: [...failures, ...check(history, { slackMs: 0, retention: true }).map(told)],
      acknowledged: count('acknowledged'),
      received: count('received'),
      faults: history.reduce((sum, operation) => sum + (operation.do === 'fault' && operation.begins ? 1 : 0), 0),
    }
  } catch (thrown) {
    return { seed, breaches: [`${(thrown as Error)?.stack ?? thrown}`], acknowledged: 0, received: 0, faults: 0 }
  }
}

/** The command that plays a seed again, told operation by operation. */
export const replay = (seed: number) => `npm run simulate -- --seed ${seed}`
