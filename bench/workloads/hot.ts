/** One group of 30 with six senders, who are with all servers: many of them append to one conversation. */
import { Flow } from '../load/flow.ts'
import { allOnline } from '../load/session.ts'
import { range } from '../targets/target.ts'
import { measure, perMessage, rounded, type Workload } from './workload.ts'

const MEMBERS = 30
const SENDERS = 6
const WINDOW = 8

export const hot: Workload = {
  says: 'a group of 30 online, six senders over all servers with 8 in flight each: messages to one conversation',
  reference: false,
  scene: () => ({ people: MEMBERS, groups: [range(MEMBERS)] }),
  async run(target, options) {
    const wires = await allOnline(target, range(MEMBERS), options.version)
    const lanes = range(SENDERS).map(nth => ({ from: 2 * nth, to: { group: 0 }, audience: range(MEMBERS) }))
    const flow = new Flow(target, wires, lanes, WINDOW, options)
    flow.run()
    const it = await measure(target, flow, options)
    const line = {
      ...perMessage(it),
      rss_mib: it.rss,
      members_count: MEMBERS,
      senders_count: SENDERS,
      in_flight_per_sender_count: WINDOW,
      measured_s: rounded(it.seconds),
    }
    return { line, verdict: it.verdict, stretch: it.stretch }
  },
}
