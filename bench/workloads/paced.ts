/** 100 pairs online, or as many people in groups, 1,000 messages a second over all: how long one takes without pressure. */
import { Flow } from '../load/flow.ts'
import { allOnline } from '../load/session.ts'
import { groupLanes, pairLanes, range } from '../targets/target.ts'
import { below, measure, rounded, type Workload } from './workload.ts'

const PAIRS = 100

const groupsOf = (members: number) =>
  range(Math.floor((2 * PAIRS) / members)).map(group => range(members, group * members))

export const paced: Workload = {
  says: '100 pairs, 1,000 messages a second in all: times of acknowledgement and delivery',
  reference: true,
  compared: { figure: 'delivery_p50_ms', more: false },
  scene: ({ members }) => ({ people: 2 * PAIRS, ...(members > 2 && { groups: groupsOf(members) }) }),
  async run(target, options) {
    const wires = await allOnline(target, range(2 * PAIRS), options.version)
    const lanes = options.members > 2 ? groupLanes(groupsOf(options.members)) : pairLanes(PAIRS)
    const flow = new Flow(target, wires, lanes, 0, options)
    flow.pace(options.rate)
    const it = await measure(target, flow, options)
    const line = {
      messages_per_s: rounded(it.completed / it.seconds),
      ...it.times,
      server_cpu_us_per_message: it.per(it.completed).server_cpu_us,
      ...it.cores,
      ...below(it, it.completed, 'message'),
      rss_mib: it.rss,
      users_count: 2 * PAIRS,
      members_count: options.members,
      measured_s: rounded(it.seconds),
    }
    return { line, verdict: it.verdict, stretch: it.stretch }
  },
}
