/** 100 pairs online, the sender of each with 8 messages in flight: as fast as the server goes. */
import { Flow } from '../load/flow.ts'
import { allOnline } from '../load/session.ts'
import { pairLanes, range } from '../targets/target.ts'
import { below, measure, rounded, type Workload } from './workload.ts'

const PAIRS = 100
const WINDOW = 8

export const chat: Workload = {
  says: '100 pairs, 8 in flight per sender: messages acknowledged and received by both, as fast as it goes',
  reference: true,
  compared: { figure: 'messages_per_s', more: true },
  scene: () => ({ people: 2 * PAIRS }),
  async run(target, options) {
    const wires = await allOnline(target, range(2 * PAIRS), options.version)
    const flow = new Flow(target, wires, pairLanes(PAIRS), WINDOW, options)
    flow.run()
    const it = await measure(target, flow, options)
    const { server_cpu_us, generator_cpu_us } = it.per(it.completed)
    const line = {
      messages_per_s: rounded(it.completed / it.seconds),
      deliveries_per_s: rounded(it.received / it.seconds),
      ...it.times,
      server_cpu_us_per_message: server_cpu_us,
      generator_cpu_us_per_message: generator_cpu_us,
      ...it.cores,
      ...below(it, it.completed, 'message'),
      rss_mib: it.rss,
      users_count: 2 * PAIRS,
      in_flight_per_sender_count: WINDOW,
      measured_s: rounded(it.seconds),
    }
    return { line, verdict: it.verdict, stretch: it.stretch }
  },
}
