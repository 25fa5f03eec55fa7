/** A group of 200, all online; one of them keeps 8 messages in flight until everybody has them. */
import { Flow } from '../load/flow.ts'
import { allOnline } from '../load/session.ts'
import { range } from '../targets/target.ts'
import { below, measure, rounded, type Workload } from './workload.ts'

const MEMBERS = 200
const WINDOW = 8

export const group: Workload = {
  says: 'a group of 200 online, one sender with 8 in flight: deliveries a second',
  reference: true,
  compared: { figure: 'deliveries_per_s', more: true },
  scene: () => ({ people: MEMBERS, groups: [range(MEMBERS)] }),
  async run(target, options) {
    const wires = await allOnline(target, range(MEMBERS), options.version)
    const lanes = [{ from: 0, to: { group: 0 }, audience: range(MEMBERS) }]
    const flow = new Flow(target, wires, lanes, WINDOW, options)
    flow.run()
    const it = await measure(target, flow, options)
    const { server_cpu_us, generator_cpu_us } = it.per(it.received)
    const line = {
      deliveries_per_s: rounded(it.received / it.seconds),
      messages_per_s: rounded(it.completed / it.seconds),
      ...it.times,
      server_cpu_us_per_delivery: server_cpu_us,
      generator_cpu_us_per_delivery: generator_cpu_us,
      ...it.cores,
      ...below(it, it.completed, 'message'),
      rss_mib: it.rss,
      members_count: MEMBERS,
      in_flight_count: WINDOW,
      measured_s: rounded(it.seconds),
    }
    return { line, verdict: it.verdict, stretch: it.stretch }
  },
}
