/** A process that appends to many conversations until it is killed, and prints each acknowledged entry as a line of JSON. */
import { writeSync } from 'node:fs'
import { put } from '../../core/ports.ts'
import { openStorage } from '../../storage/open.ts'
import { conversation, says } from '../contracts/ground.ts'
import { COUNTERS } from './counters.ts'

const [directory = '', round = ''] = process.argv.slice(2)
const clock = { now: () => Date.now() }
const { log } = await openStorage({ engine: 'level', directory, fsync: true, lowWaterBytes: 0, clock })

async function append(sender: number): Promise<void> {
  for (let nth = 0; ; nth++) {
    const to = conversation(`g:${(sender * 7 + nth) % 13}`)
    const text = 'x'.repeat((nth * 131) % 900)
    const changes = (at: { seq: number }) => [put(COUNTERS, 'counters', to, { seq: at.seq })]
    const entry = await log.append(to, says(text, `${round}-${sender}-${nth}`), { changes })
    writeSync(1, `${JSON.stringify([to, entry.seq, entry.entry.id])}\n`)
  }
}
await Promise.all(Array.from({ length: 20 }, (_, sender) => append(sender)))
