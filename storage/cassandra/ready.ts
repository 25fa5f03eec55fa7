/** Whether a write would be decided now. */
import { LOOK } from './meta.ts'
import type { Ring } from './ring.ts'

/** An answer holds so long, and is waited for so long. */
const HOLDS_MS = 3_000
const WITHIN_MS = 2_000

/** Asks by a read that a majority of replicas must promise to, as they must for a write. @throws Fault `log-unavailable` */
export function readiness(ring: Ring, monotonic: () => number): () => Promise<void> {
  let asked: { at: number; answer: Promise<void> } | undefined
  return () => {
    if (!asked || monotonic() - asked.at >= HOLDS_MS) {
      const answer = ring.readSerial(LOOK, [], WITHIN_MS).then(() => {})
      // Whoever asks again later is told, too.
      answer.catch(() => {})
      asked = { at: monotonic(), answer }
    }
    return asked.answer
  }
}
