/** What the checker says of a round; and whether it sees what is taken out of its history, or put into it, on purpose. */
import { check } from '../checker/check.ts'
import type { Finding, Operation, Received } from '../checker/history.ts'
import type { Chance } from '../support/proof.ts'
import type { Told } from './roamer.ts'

/** What came of it. */
export interface Outcome {
  acknowledged: number
  received: number
  moves: number
  /** The longest time in which nothing was acknowledged. */
  silenceMs: number
  /** From the last message until everyone had everything. */
  caughtUpMs: number
  told: Told
  /** Breaches by verdict. */
  verdicts: Record<string, number>
  /** Breaches in words, and what must not happen beside them. */
  says: string[]
  history: string
}

type Plant = (history: readonly Operation[], chance: Chance) => Operation[]

const PLANTS: Record<string, { verdicts: readonly string[]; plant: Plant }> = {
  'an acknowledged message that is not in the log': {
    verdicts: ['lost'],
    plant: (history, chance) => {
      const texts = history.flatMap(one => (one.do === 'acknowledged' ? [one.text] : []))
      const lost = chance.of(texts)
      return history.map(one =>
        one.do === 'log' ? { ...one, entries: one.entries.filter(({ text }) => text !== lost) } : one,
      )
    },
  },
  'an entry that a session never got': {
    verdicts: ['gap', 'undelivered'],
    plant: (history, chance) => {
      const lost = chance.of(deliveries(history))
      return history.filter(one => one.do !== 'received' || nameOf(one) !== nameOf(lost))
    },
  },
  'an entry that came twice on one connection': {
    verdicts: ['doubled'],
    plant: (history, chance) => {
      const twice = chance.of(deliveries(history))
      return history.flatMap(one => (one === twice ? [one, one] : [one]))
    },
  },
}

const nameOf = ({ session, conversation, seq }: Received) => `${session} ${conversation} ${seq}`
/** Messages of the second half, when everyone had subscribed, on the connection that the session had then. */
function deliveries(history: readonly Operation[]): Received[] {
  const connections = new Map<string, string>()
  const last = history.findLastIndex(({ do: what }) => what === 'received')
  return history.filter((one, i): one is Received => {
    if (one.do === 'connected') connections.set(one.session, one.connection)
    return (
      one.do === 'received' && one.text !== undefined && 2 * i > last && connections.get(one.session) === one.connection
    )
  })
}

/** What the checker does not find although it is there. */
export function overlooked(history: readonly Operation[], chance: Chance): string[] {
  return Object.entries(PLANTS)
    .filter(([, { verdicts, plant }]) => {
      const found = check(plant(history, chance), { settleMs: 0 })
      return !found.some(({ verdict }) => verdicts.includes(verdict))
    })
    .map(([name]) => `the checker overlooks ${name}`)
}

/** One line for each verdict and session. */
export function shortened(found: readonly Finding[]): string[] {
  const groups = new Map<string, { says: string; more: number }>()
  for (const { verdict, says } of found) {
    const name = `${verdict} ${/\(([^)]*)\)/.exec(says)?.[1] ?? says}`
    const group = groups.get(name)
    if (group) group.more++
    else groups.set(name, { says: `${verdict}: ${says}`, more: 0 })
  }
  return [...groups.values()].map(({ says, more }) => (more > 0 ? `${says}, and ${more} more` : says))
}
