/** From starting the process to its ready line, with a million messages stored. */
import { rounded, rssOf, type Workload } from './workload.ts'

const PAIRS = 1_000

export const start: Workload = {
  says: 'start of the process to its ready line, with 1,000,000 messages stored in 1,000 conversations',
  reference: false,
  scene: ({ stored }) => ({ people: 2 * PAIRS, stored: { pairs: PAIRS, messages: stored } }),
  async run(target, { stored }) {
    const line = {
      start_to_ready_ms: rounded(target.startedMs),
      rss_mib: rounded(rssOf(target) / 1_024),
      stored_messages_count: stored,
      conversations_count: PAIRS,
    }
    return { line }
  },
}
