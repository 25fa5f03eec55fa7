/** Not linear: reads of history against what was acknowledged before they were asked for, and against each other. */
import type { Read } from './history.ts'
import { isLost } from './log.ts'
import { type Conversation, type Message, type Reading, type Run, sight, sightOf } from './run.ts'

export function read(run: Run, { at, since, user, conversation: id, items, newest }: Read): void {
  const conversation = run.conversation(id)
  let before: number | undefined
  for (const { seq, text } of items) {
    if (before !== undefined && seq !== before + 1)
      run.report('not-linear', `${user}, reading ${id} at ${since}, got ${seq} after ${before}`)
    before = seq
    if (conversation.seenAt[seq] === undefined) conversation.seenAt[seq] = at
    if (text !== undefined) saw(run, conversation, user, seq, text)
  }
  if (newest) conversation.reads.push({ user, since, at, last: before ?? 0 })
}

function saw(run: Run, { id, read }: Conversation, user: string, seq: number, text: string): void {
  const message = run.message(text)
  if (message.seenBy === '') sight(message, user, id, seq)
  const first = read[seq]
  if (!first) read[seq] = message
  else if (first !== message)
    run.report('not-linear', `${user} read ${id} ${seq} “${text}”, and another read “${first.text}” there`)
}

export function judgeReads(run: Run, conversation: Conversation): void {
  const { id, read, reads, acked } = conversation
  read.forEach((message, seq) => {
    const entry = conversation.entry(seq)
    if (!message || message.sentIndex === -1 || isLost(message) || seq < conversation.first) return
    if (!entry) run.report('phantom', `${sightOf(message)}, which is not in the log`)
    else if (entry.text !== undefined && entry.text !== message.text)
      run.report('not-linear', `a read of ${id} gave ${seq} “${message.text}”, and the log has “${entry.text}” there`)
  })
  if (reads.length === 0) return
  const highest = highestOf(acked)
  for (const reading of reads) judgeNewest(run, id, reading, acked, highest)
}

/** By place in `acked`: the one with the highest seq so far. */
function highestOf(acked: readonly Message[]): Message[] {
  let highest: Message | undefined
  return acked.map(message => {
    if (!highest || message.seq > highest.seq) highest = message
    return highest
  })
}

function judgeNewest(
  run: Run,
  id: string,
  { user, since, last }: Reading,
  acked: readonly Message[],
  highest: readonly Message[],
): void {
  let low = 0
  let high = acked.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((acked[middle] as Message).ackedAt < since) low = middle + 1
    else high = middle
  }
  const newest = highest[low - 1]
  if (newest && newest.seq > last)
    run.report(
      'not-linear',
      `${user}, reading ${id} at ${since}, got the newest up to ${last}, and ${newest.seq} “${newest.text}” was acknowledged before`,
    )
}
