/** What those who are away cost: a group of 1,000 of whom 990 are away, against a group of the 10 who are online. */
import { Flow } from '../load/flow.ts'
import { allOnline, goOffline } from '../load/session.ts'
import { sleep } from '../machine.ts'
import { type Options, range, type Target } from '../targets/target.ts'
import type { Wire } from '../wire/wire.ts'
import { rounded, spending, type Workload } from './workload.ts'

const ONLINE = 10
const MEMBERS = 1_000
const WINDOW = 8
/** The two groups take turns, so that a slow moment of the machine meets both. */
const ROUNDS = 3
const SMALL = 0
const LARGE = 1

interface Cost {
  messages: number
  cpuMs: number
  /** Rows that the embedded engine wrote, or processor time of Cassandra, µs. */
  storage: number
}

export const offline: Workload = {
  says: 'a group of 1,000 with 990 away against one of 10: processor time and what storage does of a message',
  reference: false,
  scene: () => ({ people: MEMBERS, groups: [range(ONLINE), range(MEMBERS)] }),
  async run(target, options) {
    // Those who are away have a session with a subscription: they are owed what is sent.
    await goOffline((await allOnline(target, range(MEMBERS - ONLINE, ONLINE), options.version)).values())
    const wires = await allOnline(target, range(ONLINE), options.version)
    const costs: Cost[] = [SMALL, LARGE].map(() => ({ messages: 0, cpuMs: 0, storage: 0 }))
    const flows = [SMALL, LARGE].map(group => flowOf(target, wires, group, options))
    const verdicts = flows.map(flow => flow.verdict())
    for (let turn = -2; turn < 2 * ROUNDS; turn++) {
      const group = Math.abs(turn % 2)
      const flow = flowOf(target, wires, group, options)
      const cost = await costOf(target, flow, (options.seconds * 1_000) / (2 * ROUNDS + 2))
      verdicts.push(flow.verdict())
      if (turn >= 0) add(costs[group] as Cost, cost)
    }
    const [small, large] = costs as [Cost, Cost]
    const cpu = (cost: Cost) => (cost.cpuMs * 1_000) / cost.messages
    const storage = (cost: Cost) => cost.storage / cost.messages
    const of = target.counts ? 'cassandra_cpu_us' : 'rows'
    const line = {
      server_cpu_us_per_message_with_10: rounded(cpu(small)),
      server_cpu_us_per_message_with_1000: rounded(cpu(large)),
      cpu_ratio: rounded(cpu(large) / cpu(small)),
      [`${of}_per_message_with_10`]: rounded(storage(small)),
      [`${of}_per_message_with_1000`]: rounded(storage(large)),
      storage_ratio: rounded(storage(large) / storage(small)),
      messages_count: small.messages + large.messages,
      online_count: ONLINE,
      away_count: MEMBERS - ONLINE,
    }
    return { line, verdict: { ...sum(verdicts), over_20_percent: worst(line) > 1.2 ? 1 : 0 } }
  },
}

const worst = ({ cpu_ratio, storage_ratio }: { cpu_ratio: number; storage_ratio: number }) =>
  Math.max(cpu_ratio, storage_ratio)

function flowOf(target: Target, wires: Map<number, Wire>, group: number, options: Options): Flow {
  const lanes = [{ from: 0, to: { group }, audience: range(ONLINE) }]
  return new Flow(target, wires, lanes, WINDOW, options)
}

/** Everything a stretch of sending costs, what is done for it afterwards included. */
async function costOf(target: Target, flow: Flow, ms: number): Promise<Cost> {
  const rows = () => (target.counts ? 0 : rowsWritten(target))
  const before = await rows()
  const spent = await spending(target, async () => {
    flow.run()
    await sleep(ms)
    await flow.stop()
  })
  const storage = spent.under?.cassandra_cpu_us ?? (await rows()) - before
  return { messages: flow.completed, cpuMs: spent.serverMs, storage }
}

/** Rows that the storage has written since it was opened. */
async function rowsWritten(target: Target): Promise<number> {
  const text = (await target.metrics?.()) ?? ''
  const value = /^im_storage_rows_total(?:\{[^}]*\})? (\S+)$/m.exec(text)?.[1]
  if (value === undefined) throw new Error('the server has no metric im_storage_rows_total')
  return Number(value)
}

function add(to: Cost, cost: Cost): void {
  to.messages += cost.messages
  to.cpuMs += cost.cpuMs
  to.storage += cost.storage
}

function sum(verdicts: object[]): Record<string, number> {
  const total: Record<string, number> = {}
  for (const verdict of verdicts)
    for (const [name, count] of Object.entries(verdict)) total[name] = (total[name] ?? 0) + count
  return total
}
