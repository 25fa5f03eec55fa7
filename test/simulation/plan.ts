/** What a run is like: every seed has its own mixture, so that each kind of trouble is also met alone and in excess. */
import type { Chance } from '../support/proof.ts'
import type { DeviceIs } from './device.ts'
import { GROUP, type Person } from './image.ts'

const ACTIONS = {
  say: 12,
  acknowledge: 8,
  connect: 4,
  subscribe: 3,
  drop: 2,
  leave: 0.5,
  forget: 0.3,
  members: 1,
  read: 1,
  post: 1,
  retain: 1.5,
  disk: 0.5,
  restart: 0.2,
  crash: 0.3,
}
export type Action = keyof typeof ACTIONS

export interface Plan {
  actions: number
  /** Steps between two actions, below this. */
  pace: number
  nodes: number
  windowMessages: number
  windowBytes: number
  /** Share of reads and writes that fail while the disk is bad. */
  failing: number
  /** Share of sends with QoS 2. */
  qos2: number
  next(chance: Chance): Action
  where(chance: Chance, user: Person): [conversation: string, topic: string]
}

/** Partners of two people's conversations. */
const PARTNERS: Record<Person, Person> = { alice: 'bob', bob: 'alice', carol: 'bob', dave: 'alice' }
const GROUP_TALK: [string, string] = [`g:${GROUP}`, `im/g/${GROUP}/send`]

export function planOf(chance: Chance): Plan {
  const weights = Object.entries(ACTIONS).map(([name, weight]) => [name as Action, weight * weigh(chance)] as const)
  const sum = weights.reduce((all, [, weight]) => all + weight, 0)
  const inGroup = chance.next()
  return {
    actions: chance.of([10, 20, 40, 120]),
    pace: chance.of([4, 12, 40]),
    nodes: chance.of([1, 2]),
    windowMessages: chance.of([1, 3, 10, 100]),
    windowBytes: chance.of([300, 2_000, 262_144]),
    failing: chance.of([0.02, 0.2, 1]),
    qos2: chance.of([0, 0, 0.5]),
    next(at) {
      let left = at.next() * sum
      for (const [name, weight] of weights) {
        left -= weight
        if (left < 0) return name
      }
      return 'say'
    },
    where(at, user) {
      if (at.happens(inGroup)) return GROUP_TALK
      const partner = PARTNERS[user]
      return [`u:${[user, partner].sort().join(':')}`, `im/u/${partner}/send`]
    },
  }
}

/** Not at all, as usual, or often. */
const weigh = (chance: Chance) => chance.of([0, 1, 1, 1, 5])

export function cast(plan: Plan, chance: Chance, passwords: Record<Person, string>): DeviceIs[] {
  const one = (user: Person, clientId: string, version: 4 | 5): DeviceIs => ({
    user,
    clientId,
    version,
    password: passwords[user],
    persistent: chance.happens(0.8),
    // Two nodes at once cannot know of each other what is on its way into the log.
    namesMessages: plan.nodes > 1 || chance.happens(0.5),
    ...(version === 5 && chance.happens(0.3) && { receiveMaximum: 1 + chance.below(5) }),
  })
  // Whoever may lose the group speaks MQTT 5, whose PUBACK tells a refusal from a success.
  const all = [
    one('alice', 'a1', 4),
    one('bob', 'b1', 5),
    one('carol', 'c1', 5),
    one('dave', 'd1', 5),
    one('bob', 'b2', 4),
  ]
  return all.slice(0, 2 + chance.below(4))
}
