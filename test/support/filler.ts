/**
 * A process that fills a data directory with entries as a platform in use leaves them: of many conversations at once, small
 * and large, none in order of its key. Prints a line of JSON when it has as many as asked for, and goes on until killed.
 */
import { writeSync } from 'node:fs'
import { directoryStorage, personName, seed } from '../../bench/targets/seed.ts'
import type { ConversationKey } from '../../core/ports.ts'
import { between, type Sender, UserId } from '../../protocol/ids.ts'
import { openStorage } from '../../storage/open.ts'
import { Chance } from './proof.ts'

const [directory = '', entries = '0', pairs = '1000'] = process.argv.slice(2)
const PAIRS = Number(pairs)
/** Appends that share commits. */
const WIDTH = 1_000
/** Of so many entries, one is a group's: a long log beside many short ones. */
const GROUP_EVERY = 10

const scene = { people: 2 * PAIRS, groups: [[0, 1, 2, 3]], stored: { pairs: PAIRS, messages: PAIRS } }
const [key] = await seed(directoryStorage(directory), scene, { ids: true, textBytes: 100 })
const { log } = await openStorage({ engine: 'level', directory, fsync: false, lowWaterBytes: 0, clock: Date })
const chance = new Chance(1)
const nameOf = (person: number) => UserId.parse(personName(person))
const conversations = Array.from(
  { length: PAIRS },
  (_, pair) => `im/${between(nameOf(2 * pair), nameOf(2 * pair + 1))}` as ConversationKey,
)
const senders = Array.from({ length: PAIRS }, (_, pair) => nameOf(2 * pair) as Sender)
/** Words that compress as text does. */
const words = Array.from({ length: 2_000 }, () =>
  chance
    .next()
    .toString(36)
    .slice(2, 4 + chance.below(6)),
)

let group = 0
async function append(nth: number): Promise<void> {
  const pair = chance.below(PAIRS)
  const text = Array.from({ length: 8 + chance.below(24) }, () => chance.of(words)).join(' ')
  const body = { type: 'text', text, clientMessageId: `f-${nth}` }
  const toGroup = nth % GROUP_EVERY === 0
  const to = toGroup ? ('im/g:g0' as ConversationKey) : (conversations[pair] as ConversationKey)
  const from = toGroup ? (senders[0] as Sender) : (senders[pair] as Sender)
  const { seq } = await log.append(to, { kind: 'message', from, body })
  if (toGroup) group = Math.max(group, seq)
}

for (let stored = PAIRS; ; stored += WIDTH) {
  if (stored >= Number(entries) && stored - WIDTH < Number(entries))
    writeSync(1, `${JSON.stringify({ stored, group, key })}\n`)
  await Promise.all(Array.from({ length: WIDTH }, (_, nth) => append(stored + nth)))
}
