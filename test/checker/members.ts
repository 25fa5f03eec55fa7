/** Not a member: who was in at which entry, by the log, and what they were handed beside that. */
import type { LogEntry } from './history.ts'
import type { Conversation, Feed, Run } from './run.ts'

type Stay = { from: number; to: number }
const EVER: readonly Stay[] = [{ from: 1, to: Number.POSITIVE_INFINITY }]
const NEVER: readonly Stay[] = []

/** Reads the members entries of a group's log. */
export function membersOf({ id, log, members }: Conversation): void {
  if (!id.startsWith('g:')) return
  for (const { kind, seq, added, removed } of log as LogEntry[]) {
    if (kind !== 'members') continue
    for (const user of removed ?? []) {
      const last = members.get(user)?.at(-1)
      if (last?.to === Number.POSITIVE_INFINITY) last.to = seq - 1
    }
    for (const user of added ?? []) {
      const stays = members.get(user)
      if (!stays) members.set(user, [{ from: seq, to: Number.POSITIVE_INFINITY }])
      else if (stays.at(-1)?.to !== Number.POSITIVE_INFINITY) stays.push({ from: seq, to: Number.POSITIVE_INFINITY })
    }
  }
}

/** First and last entry of each stay; nothing where who is in is not to be told from the history. */
export function staysOf({ id, members }: Conversation, user: string): readonly Stay[] | undefined {
  if (id.startsWith('g:')) return members.get(user) ?? NEVER
  if (id.startsWith('u:') || id.startsWith('n:')) return id.split(':').indexOf(user, 1) > 0 ? EVER : NEVER
  return undefined
}

/** Everyone who is in at the end. */
export function usersOf({ id, members }: Conversation): Iterable<string> {
  return id.startsWith('g:') ? members.keys() : id.startsWith('u:') || id.startsWith('n:') ? id.split(':').slice(1) : []
}

export function judgeMembership(run: Run, { conversation, session, user, delivered, late, gaps }: Feed): void {
  const stays = staysOf(conversation, user)
  if (!stays) return
  const who = `${user} (${session})`
  const { id } = conversation
  let next = delivered.first
  const outside = (from: number, to: number) => {
    for (const [first, last] of delivered.within(from, to))
      run.report('not-a-member', `${who} got ${id} ${range(first, last)} and was not in`)
  }
  for (const { from, to } of stays) {
    outside(next, from - 1)
    next = Math.max(next, to + 1)
  }
  outside(next, delivered.last)

  late.forEach(({ seq, at }, removals) => {
    // So many removals were answered: the first so many stays were over.
    const stay = stays.findIndex(({ from, to }) => from <= seq && seq <= to)
    if (stay !== -1 && stay < removals)
      run.report('not-a-member', `${who} was handed ${id} ${seq} at ${at}, after the removal was answered`)
  })
  for (const { from, to } of gaps)
    if (!isRight(run, conversation, stays, from, to))
      run.report('gap', `${who} was told a gap in ${id}, ${range(from, to)}, and was in all the time`)
}

/** A gap ends before the entry with which the reader came in, or where the log starts. */
function isRight(
  run: Run,
  { first, trimmed }: Conversation,
  stays: readonly Stay[],
  from: number,
  to: number,
): boolean {
  if (run.retention && to < Math.max(first, trimmed)) return true
  return stays.some(stay => stay.from > from && stay.from <= to + 1)
}

export const range = (from: number, to: number) => (from === to ? `${from}` : `${from} to ${to}`)
