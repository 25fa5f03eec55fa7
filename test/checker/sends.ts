/** What was sent, and what its sender was told of it. */
import type { Acknowledged, Refused, Sent } from './history.ts'
import { type Connection, type Run, rootOf } from './run.ts'

export function sent(run: Run, { connection: name, from, conversation, text, clientMessageId }: Sent): void {
  const message = run.message(text)
  message.sends++
  const connection = run.connection(name)
  if (message.connection) {
    if (run.resendsInOrder) follows(connection, message.connection)
    return
  }
  message.connection = connection
  message.sentIndex = run.index
  message.conversation = conversation
  message.from = from
  if (clientMessageId === undefined) return
  const key = `${conversation} ${from} ${clientMessageId}`
  const first = run.named.get(key)
  if (first) message.same = first
  else run.named.set(key, message)
}

function follows(connection: Connection, before: Connection): void {
  const start = startOf(before)
  if (startOf(connection) !== start) startOf(connection).after = start
}

/** The connection with which a chain of resends began. */
export function startOf(connection: Connection): Connection {
  let start = connection
  while (start.after) start = start.after
  // The way is long after many crashes, and is gone once.
  if (connection.after) connection.after = start
  return start
}

export function acknowledged(run: Run, { at, text, seq }: Acknowledged): void {
  const message = rootOf(run.message(text))
  if (seq !== undefined) message.told = seq
  if (message.ackedIndex !== -1) return
  message.ackedIndex = run.index
  message.ackedAt = at
  if (message.sentIndex === -1) run.report('phantom', `“${text}” is acknowledged and nobody sent it`)
  else run.conversation(message.conversation).acked.push(message)
}

export function refused(run: Run, { text }: Refused): void {
  run.message(text).refusals++
}
