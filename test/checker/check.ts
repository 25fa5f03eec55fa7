/**
 * The checker: reads a history and tells what of the promise "acknowledged means stored, once, in order, and every member
 * gets it" was broken. One pass over the operations, then one over each log; about linear in both.
 *
 *   check(history)                                      a list
 *   check(readHistory('run.ndjson'), { slackMs: 0 })    a file, without holding it in memory
 *
 * What it counts on beside what history.ts says: logs come after everything else, in one operation or in several of one
 * conversation that continue each other; a reader that acknowledges nothing is disconnected before the end, or it is told as
 * `undelivered`.
 */
import { judgeFeeds, judgeWaiting, received } from './deliveries.ts'
import type {
  Connected,
  Disconnected,
  FaultInjected,
  Finding,
  Log,
  MembersChanged,
  Operation,
  Subscribed,
} from './history.ts'
import { judgeReads, read } from './linear.ts'
import { judgeLog, judgeMessages, judgeSeen } from './log.ts'
import { judgeMembership, membersOf } from './members.ts'
import { type Options, Run } from './run.ts'
import { acknowledged, refused, sent } from './sends.ts'

export type { Options } from './run.ts'

export function check(history: Iterable<Operation>, options: Options = {}): Finding[] {
  const run = new Run(options)
  for (const operation of history) {
    take(run, operation)
    run.index++
    if (operation.at > run.at) run.at = operation.at
  }
  for (const conversation of run.conversations.values()) {
    if (!conversation.log) continue
    membersOf(conversation)
    judgeLog(run, conversation)
  }
  judgeMessages(run)
  for (const conversation of run.conversations.values()) {
    if (!conversation.log) continue
    judgeSeen(run, conversation)
    judgeReads(run, conversation)
    judgeWaiting(run, conversation)
  }
  for (const feed of run.feeds) {
    if (!feed.conversation.log) continue
    judgeMembership(run, feed)
    judgeFeeds(run, feed)
  }
  return run.findings
}

type Takes = { [K in Operation['do']]: (run: Run, operation: Extract<Operation, { do: K }>) => void }
const TAKES: Takes = {
  sent,
  acknowledged,
  refused,
  received,
  read,
  connected,
  subscribed,
  disconnected,
  members: membersChanged,
  fault,
  log,
}
// The row of an operation takes that operation.
const take = (run: Run, operation: Operation) =>
  (TAKES[operation.do] as (run: Run, operation: Operation) => void)(run, operation)

function connected(run: Run, { at, connection, session: name, user, resumed }: Connected): void {
  const session = run.session(name, user)
  session.user = user
  session.connection = connection
  session.openConnections.add(connection)
  session.connected = true
  session.connectedAt = at
  if (resumed) return
  session.subscribedIndex = -1
  session.feeds = new Map()
}

function subscribed(run: Run, { at, session: name }: Subscribed): void {
  const session = run.session(name, '')
  // Filters that a resumed session asks for again change nothing.
  if (session.subscribedIndex !== -1) return
  session.subscribedIndex = run.index
  session.subscribedAt = at
  for (const feed of session.feeds.values()) feed.subscribedIndex = run.index
}

function disconnected(run: Run, { connection, session: name, left }: Disconnected): void {
  const session = run.session(name, '')
  session.openConnections.delete(connection)
  // An older connection that ends late, after a takeover, ends nothing else.
  if (session.connection !== connection) return
  session.connected = false
  // What came before a SUBACK that never came promises nothing of what follows.
  if (session.subscribedIndex === -1) for (const feed of session.feeds.values()) feed.promised = false
  if (!left) return
  session.subscribedIndex = -1
  session.feeds = new Map()
}

function membersChanged(run: Run, { at, conversation: id, removed }: MembersChanged): void {
  const { removals } = run.conversation(id)
  for (const user of removed) {
    const answered = removals.get(user)
    if (answered) answered.push(at)
    else removals.set(user, [at])
  }
}

function fault(run: Run, { at, what, begins }: FaultInjected): void {
  if (begins) run.faults.add(what)
  else run.faults.delete(what)
  run.faultAt = at
}

function log(run: Run, { conversation: id, entries, first = 0 }: Log): void {
  const conversation = run.conversation(id)
  conversation.trimmed = Math.max(conversation.trimmed, first)
  conversation.log = conversation.log ? conversation.log.concat(entries) : [...entries]
}
