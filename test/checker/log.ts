/** The log against what was sent: lost, doubled, reordered, gap and phantom; and against what anybody was given. */
import type { LogEntry } from './history.ts'
import { type Connection, type Conversation, type Message, type Run, rootOf, sightOf } from './run.ts'
import { startOf } from './sends.ts'

/** What the server says itself. */
const SYSTEM = '$system'

export function judgeLog(run: Run, conversation: Conversation): void {
  const log = conversation.log as LogEntry[]
  judgeNumbers(run, conversation.id, log)
  const seen: Connection[] = []
  for (const entry of log) {
    if (entry.kind !== 'message' || entry.text === undefined || entry.from === SYSTEM) continue
    const message = run.messages.get(entry.text)
    if (!message || !isOf(message, conversation.id, entry)) {
      run.report('phantom', `${where(conversation.id, entry)} “${entry.text}” from ${entry.from} was never sent`)
      continue
    }
    if (!judgeStored(run, conversation.id, entry, message)) continue
    const connection = orderOf(run, message)
    if (!connection) continue
    const { last } = connection
    if (!last) seen.push(connection)
    else if (last.sentIndex > message.sentIndex) {
      const before = `after “${last.text}” (${last.seq}), which ${entry.from} sent later on ${last.connection?.name}`
      run.report('reordered', `${where(conversation.id, entry)} “${entry.text}” is stored ${before}`)
      continue
    }
    connection.last = message
  }
  judgeTime(run, conversation.id, log)
  for (const connection of seen) connection.last = undefined
}

/** The connection, or chain of them, on which the place of a message is certain. */
function orderOf(run: Run, message: Message): Connection | undefined {
  const { connection, sends } = message
  if (!connection) return undefined
  return run.resendsInOrder ? startOf(connection) : sends === 1 ? connection : undefined
}

function judgeStored(run: Run, id: string, entry: LogEntry, message: Message): boolean {
  const root = rootOf(message)
  if (root.seq !== 0) {
    run.report('doubled', `“${entry.text}” from ${entry.from} is in ${id} as ${root.seq} and again as ${entry.seq}`)
    return false
  }
  root.seq = entry.seq
  if (message.refusals >= message.sends)
    run.report('phantom', `${where(id, entry)} “${entry.text}” from ${entry.from} was refused and is stored`)
  return true
}

const isOf = (message: Message, id: string, { from }: LogEntry) =>
  message.sentIndex !== -1 && message.conversation === id && message.from === from

function judgeNumbers(run: Run, id: string, log: readonly LogEntry[]): void {
  let before: LogEntry | undefined
  for (const entry of log) {
    const { seq, n, kind, sentAt } = entry
    const next = before ? before.seq + 1 : run.retention ? seq : 1
    if (seq !== next) run.report('gap', `${id} has ${seq} where ${next} is due`)
    const count = before ? before.n + (kind === 'message' ? 1 : 0) : run.retention ? n : kind === 'message' ? 1 : 0
    if (n !== count) run.report('gap', `${where(id, entry)} n is ${n} where ${count} messages are counted`)
    if (before && sentAt < before.sentAt)
      run.report('gap', `${where(id, entry)} sentAt goes down from ${before.sentAt} to ${sentAt}`)
    before = entry
  }
}

/** Not linear: acknowledged before another one was sent, and stored after it. */
function judgeTime(run: Run, id: string, log: readonly LogEntry[]): void {
  let early: Message | undefined
  for (let at = log.length - 1; at >= 0; at--) {
    const { kind, text, seq } = log[at] as LogEntry
    const found = kind === 'message' && text !== undefined ? run.messages.get(text) : undefined
    const message = found && rootOf(found)
    if (message?.seq !== seq || message.conversation !== id) continue
    if (early && early.ackedIndex < message.sentIndex && !sameOrder(run, early, message))
      run.report(
        'not-linear',
        `${id}: “${early.text}” was acknowledged before “${message.text}” was sent, and is stored after it (${early.seq} > ${seq})`,
      )
    if (message.ackedIndex !== -1 && (!early || message.ackedIndex < early.ackedIndex)) early = message
  }
}

/** Then it is told as reordered. */
function sameOrder(run: Run, one: Message, other: Message): boolean {
  const order = orderOf(run, one)
  return order !== undefined && order === orderOf(run, other)
}

/** Lost, and what was seen and never sent. */
export function judgeMessages(run: Run): void {
  const bodiless = new Map<string, number>()
  for (const message of run.messages.values()) {
    if (message.sentIndex === -1 && message.seenBy !== '')
      run.report('phantom', `${sightOf(message)}, and nobody sent it`)
    if (message.same || message.sentIndex === -1) continue
    if (message.seq !== 0) {
      judgeTold(run, message)
    } else if (message.ackedIndex !== -1 && !isTakenBack(run, message, bodiless)) {
      const { text, from, conversation, ackedAt } = message
      const log = run.conversations.get(conversation)?.log ? 'is not in the log' : 'the history has no log of it'
      run.report('lost', `“${text}” from ${from} to ${conversation} was acknowledged at ${ackedAt}, and ${log}`)
    }
  }
}

function judgeTold(run: Run, { text, conversation: id, told, seq }: Message): void {
  if (told === 0 || told === seq) return
  // Stored twice, it is told as doubled.
  const there = run.conversations.get(id)?.entry(told)?.text
  if (there !== text) run.report('phantom', `“${text}” was told as ${id} ${told}, where the log has “${there}”`)
}

/** Whether a tombstone stands in its place: at the seq that was told, or any of the sender's that is nobody else's. */
function isTakenBack(run: Run, { conversation: id, from, told }: Message, bodiless: Map<string, number>): boolean {
  const conversation = run.conversations.get(id)
  if (!conversation?.log) return false
  if (told !== 0) return isTombstone(conversation.entry(told), from)
  const key = `${id} ${from}`
  const left = bodiless.get(key) ?? countTombstones(conversation, conversation.log, from)
  bodiless.set(key, left - 1)
  return left > 0
}

const isTombstone = (entry: LogEntry | undefined, from: string) =>
  entry?.kind === 'message' && entry.text === undefined && entry.from === from

const countTombstones = ({ seen }: Conversation, log: readonly LogEntry[], from: string) =>
  log.filter(entry => isTombstone(entry, from) && seen[entry.seq] === undefined).length

/** Phantom: what sessions were given is what the log holds. */
export function judgeSeen(run: Run, conversation: Conversation): void {
  const { id, seen, seenAt } = conversation
  seenAt.forEach((_at, seq) => {
    const message = seen[seq]
    const entry = conversation.entry(seq)
    // Told already, as lost or as never sent.
    if (message && (message.sentIndex === -1 || isLost(message))) return
    if (!entry) {
      if (seq >= conversation.first)
        run.report('phantom', `${message ? sightOf(message) : `a session got ${id} ${seq}`}, which is not in the log`)
    } else if (message && (entry.kind !== 'message' || (entry.text !== undefined && entry.text !== message.text)))
      run.report('phantom', `${sightOf(message)}, and the log has ${entry.kind} “${entry.text}” there`)
  })
}

export const isLost = (message: Message) => rootOf(message).seq === 0 && rootOf(message).ackedIndex !== -1

const where = (id: string, { seq }: LogEntry) => `${id} ${seq}:`
