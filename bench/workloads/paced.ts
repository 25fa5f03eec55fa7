/** 100 pairs online, or as many people in groups, 1,000 messages a second over all: how long one takes without pressure. */
import { Flow } from '../load/flow.ts'
import { allOnline } from '../load/session.ts'
import { sleep } from '../machine.ts'
import { groupLanes, pairLanes, range } from '../targets/target.ts'
import { type Line, measure, perMessage, rounded, type Spent, spending, type Workload } from './workload.ts'

const PAIRS = 100

const groupsOf = (members: number) =>
  range(Math.floor((2 * PAIRS) / members)).map(group => range(members, group * members))

/** What a message costs a cluster that also has work when nobody speaks: little, but much of what few messages cost. */
function aboveSilence(silence: Spent, spent: Spent, messages: number): Line {
  const usOf = ({ serverMs, under = {} }: Spent, seconds: number): Record<string, number> => ({
    server: (serverMs * 1_000) / seconds,
    cassandra: (under.cassandra_cpu_us ?? 0) / seconds,
    redis: (under.redis_cpu_us ?? 0) / seconds,
  })
  const silent = usOf(silence, silence.seconds)
  return Object.fromEntries(
    Object.entries(usOf(spent, spent.seconds)).map(([part, us]) => [
      `${part}_cpu_us_per_message_above_silence`,
      rounded(((us - (silent[part] ?? 0)) * spent.seconds) / messages),
    ]),
  )
}

export const paced: Workload = {
  says: '100 pairs, 1,000 messages a second in all: times of acknowledgement and delivery',
  reference: true,
  compared: { figure: 'delivery_p50_ms', more: false },
  scene: ({ members }) => ({ people: 2 * PAIRS, ...(members > 2 && { groups: groupsOf(members) }) }),
  async run(target, options) {
    const wires = await allOnline(target, range(2 * PAIRS), options.version)
    const lanes = options.members > 2 ? groupLanes(groupsOf(options.members)) : pairLanes(PAIRS)
    const flow = new Flow(target, wires, lanes, 0, options)
    const silence = target.counts && (await spending(target, () => sleep(options.seconds * 500)))
    flow.pace(options.rate)
    const it = await measure(target, flow, options)
    const line = {
      ...perMessage(it),
      ...(silence && aboveSilence(silence, it, it.completed)),
      rss_mib: it.rss,
      users_count: 2 * PAIRS,
      members_count: options.members,
      measured_s: rounded(it.seconds),
    }
    return { line, verdict: it.verdict, stretch: it.stretch }
  },
}
