/** What sessions were given: doubled, reordered, gap, and what a member waits for in vain. */
import type { LogEntry, Received } from './history.ts'
import { range, staysOf, usersOf } from './members.ts'
import { type Conversation, type Feed, type Run, rootOf, type Session, sight, sightOf } from './run.ts'
import { Spans } from './spans.ts'

export function received(run: Run, operation: Received): void {
  const { at, connection, user, conversation: id, seq, from } = operation
  const session = run.session(operation.session, user)
  const feed = run.feed(session, id)
  if (from === undefined) saw(run, feed.conversation, operation)
  const isGap = from !== undefined
  // What an older connection still gave when the session had moved on says nothing of the order.
  if (connection === session.connection || session.connection === '') {
    const twice = isTwice(feed, operation, session.openConnections.size > 1)
    if (twice) run.report('doubled', `${told(operation)} again ${twice}, ${connection}`)
    const high = Math.max(feed.delivered.last, feed.covered.last)
    if (seq < high && !feed.delivered.has(seq) && !(isGap && feed.covered.has(seq)))
      run.report('reordered', `${told(operation)} after ${high} on ${connection}`)
  }
  if (isGap) {
    feed.covered.cover(from, seq)
    feed.gaps.push({ from, to: seq })
    return
  }
  feed.delivered.add(seq)
  const answered = feed.conversation.removals.get(user)
  if (answered) notes(feed, answered, run.slackMs, seq, at)
}

function told({ user, session, conversation: id, seq, from, text }: Received): string {
  const what = from === undefined ? `${seq}` : `the gap ${from} to ${seq}`
  return `${user} (${session}) got ${id} ${what}${text === undefined ? '' : ` “${text}”`}`
}

/**
 * How the session had it before, on this connection or, without DUP, on another: also where a process died in between. `isOneOf`:
 * the client has several connections open. It reads them in any order, so what was given first may be read behind what was given
 * again on the next of them; it is given without DUP once all the same.
 */
function isTwice(feed: Feed, { connection, seq, dup }: Received, isOneOf: boolean): string | undefined {
  if (feed.connection !== connection) {
    feed.connection = connection
    feed.onConnection = new Spans()
  }
  const isFirstHere = feed.onConnection.add(seq)
  const isFirst = feed.given.add(seq)
  const isPlain = !dup && feed.plain.add(seq)
  if (!isFirstHere) return 'on the same connection'
  return isFirst || dup || (isOneOf && isPlain) ? undefined : 'without DUP, on a later connection'
}

/** Remembers what came after removals were answered: whether it belongs to a later stay, the log tells. */
function notes({ late }: Feed, answered: readonly number[], slackMs: number, seq: number, at: number): void {
  let removals = answered.length
  while (removals > 0 && at <= (answered[removals - 1] as number) + slackMs) removals--
  if (removals > 0 && !((late[removals]?.seq ?? Number.POSITIVE_INFINITY) <= seq)) late[removals] = { seq, at }
}

function saw(run: Run, { id, seen, seenAt }: Conversation, { at, session, user, seq, kind, text }: Received): void {
  if (seenAt[seq] === undefined) seenAt[seq] = at
  if (text === undefined || kind !== 'message') return
  const message = run.message(text)
  if (message.seenBy === '') sight(message, session, id, seq)
  const root = rootOf(message)
  if (root.told === 0 && root.conversation === id) root.told = seq
  const before = seen[seq]
  if (!before) seen[seq] = message
  else if (before !== message)
    run.report('phantom', `${user} (${session}) got ${id} ${seq} “${text}”, and ${sightOf(before)}`)
}

/** Gap: what came is whole, but for what the reader was not in for, or was told as a gap. */
export function judgeFeeds(run: Run, feed: Feed): void {
  const { conversation, session, user, delivered, covered, promised, subscribedIndex } = feed
  // A gap speaks for what is in it alone: what is missing right before it is missing.
  const last = Math.max(delivered.last, covered.last)
  if (last === 0) return
  const stays = staysOf(conversation, user) ?? [{ from: 1, to: Number.POSITIVE_INFINITY }]
  const first = Math.max(run.retention ? conversation.first : 1, dueFrom(run, conversation, subscribedIndex))
  for (const [from, to] of missing(feed, promised ? Math.min(first, delivered.first || first) : first, last)) {
    // What waited when the reader left is not given after rejoining.
    const stay = stays.find(({ from: joined, to: left }) => joined <= to + 1 && to + 1 <= left)
    const due = Math.max(from, stay?.from ?? to + 1)
    if (due <= to) run.report('gap', `${user} (${session}) never got ${conversation.id} ${range(due, to)}`)
  }
}

/** Undelivered: who is in, connected and subscribed has everything that was known to be stored long enough ago. */
export function judgeWaiting(run: Run, conversation: Conversation): void {
  const since = run.at - run.settleMs
  if (run.faults.size > 0 || run.faultAt > since) return
  const due = knownBy(run, conversation, since)
  if (due === 0) return
  const users = usersOf(conversation)
  for (const user of users) {
    const stay = staysOf(conversation, user)?.at(-1)
    if (!stay || stay.to !== Number.POSITIVE_INFINITY) continue
    for (const session of sessionsOf(run, user)) {
      const { connected, connectedAt, subscribedIndex, subscribedAt } = session
      if (!connected || subscribedIndex === -1 || connectedAt > since || subscribedAt > since) continue
      waits(run, session, conversation, stay.from, due)
    }
  }
}

function waits(run: Run, session: Session, conversation: Conversation, joined: number, due: number): void {
  const { name, user, subscribedIndex } = session
  const feed = session.feeds.get(conversation.id)
  // What is missing before something that came is told as a gap.
  const had = feed ? Math.max(feed.delivered.last, feed.covered.last) : 0
  const next = had > 0 && feed?.promised ? had + 1 : Math.max(had + 1, dueFrom(run, conversation, subscribedIndex))
  const from = Math.max(joined, next)
  if (from <= due)
    run.report(
      'undelivered',
      `${user} (${name}) waits for ${conversation.id} ${range(from, due)} to the end at ${run.at}`,
    )
}

function sessionsOf(run: Run, user: string): readonly Session[] {
  if (!run.sessionsOf) {
    run.sessionsOf = new Map()
    for (const session of run.sessions.values()) {
      const own = run.sessionsOf.get(session.user)
      if (own) own.push(session)
      else run.sessionsOf.set(session.user, [session])
    }
  }
  return run.sessionsOf.get(user) ?? []
}

/** The highest seq that somebody was told of by then. */
function knownBy(run: Run, { log, seenAt }: Conversation, by: number): number {
  for (let at = (log?.length ?? 0) - 1; log && at >= 0; at--) {
    const { seq, kind, text } = log[at] as LogEntry
    if ((seenAt[seq] ?? Number.POSITIVE_INFINITY) <= by) return seq
    const message = kind === 'message' && text !== undefined ? run.messages.get(text) : undefined
    if (message && rootOf(message).seq === seq && rootOf(message).ackedAt <= by) return seq
  }
  return 0
}

/** The first entry that was certainly sent after that place in the history; beyond the end where none was. */
function dueFrom(run: Run, conversation: Conversation, index: number): number {
  const log = conversation.log ?? []
  if (index === -1) return Number.POSITIVE_INFINITY
  conversation.sentUpTo ??= sentUpTo(run, log)
  const upTo = conversation.sentUpTo
  let low = 0
  let high = upTo.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((upTo[middle] as number) > index) high = middle
    else low = middle + 1
  }
  return low < log.length ? conversation.first + low : Number.POSITIVE_INFINITY
}

function sentUpTo(run: Run, log: readonly LogEntry[]): number[] {
  let last = -1
  return log.map(({ kind, text }) => {
    const message = kind === 'message' && text !== undefined ? run.messages.get(text) : undefined
    if (message) last = Math.max(last, rootOf(message).sentIndex)
    return last
  })
}

function missing({ delivered, covered }: Feed, from: number, to: number): [number, number][] {
  return delivered.missing(from, to).flatMap(([first, last]) => covered.missing(first, last))
}
