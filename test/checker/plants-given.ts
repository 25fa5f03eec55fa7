/** Breaches in what sessions and reads are given; see plants.ts. */
import type { Log, LogEntry, Operation, Received } from './history.ts'
import {
  ackOf,
  instead,
  inTheMiddle,
  isEntry,
  isHighest,
  isLog,
  isOf,
  isRead,
  isReceived,
  isSent,
  logOf,
  maybe,
  type Plant,
  sendsOf,
  withLog,
} from './planting.ts'

export const gap: Record<string, Plant> = {
  'one is left out': (history, chance) => {
    const one = maybe(inTheMiddle(history), chance)
    return one && history.filter(operation => !isOf(operation, one))
  },
  'the first one after a resume is left out': (history, chance) => {
    const isFirst = ({ session, conversation, seq, connection }: Received) =>
      history.find(one => isOf(one, { session, conversation, seq: seq - 1 }) && one.connection !== connection)
    const one = maybe(inTheMiddle(history).filter(isFirst), chance)
    return one && history.filter(operation => !isOf(operation, one))
  },
  'a gap is told for nothing': (history, chance) => {
    const one = maybe(inTheMiddle(history), chance)
    if (!one) return undefined
    const { text: _, ...rest } = one
    return instead(history, one, { ...rest, kind: 'gap', from: one.seq }).filter(operation => !isOf(operation, one))
  },
  'the log skips a seq': (history, chance) => {
    const log = chance.of(history.filter(isLog))
    const last = log.entries.at(-1)
    if (!last) return undefined
    const { seq, n, sentAt } = last
    return withLog(history, log, [...log.entries, { seq: seq + 2, n, sentAt, kind: 'recall', from: 'alice' }])
  },
  'n counts wrong': (history, chance) => {
    const log = chance.of(history.filter(isLog))
    const wrong = chance.of(log.entries)
    return withLog(
      history,
      log,
      log.entries.map(entry => (entry === wrong ? { ...entry, n: entry.n + 1 } : entry)),
    )
  },
  'sentAt goes down': (history, chance) => {
    const log = chance.of(history.filter(isLog))
    const wrong = maybe(log.entries.slice(1), chance)
    return (
      wrong &&
      withLog(
        history,
        log,
        log.entries.map(entry => (entry === wrong ? { ...entry, sentAt: 1 } : entry)),
      )
    )
  },
}

export const outside: Record<string, Plant> = {
  'a stranger gets an entry': (history, chance) => {
    const one = maybe(history.filter(isEntry), chance)
    if (!one) return undefined
    const stranger = { at: one.at, connection: 'm1', session: 'm', user: 'mallory' }
    return instead(history, one, one, { do: 'connected', resumed: false, ...stranger }, { ...one, ...stranger })
  },
  'what came while away is given after rejoining': (history, chance) => {
    const one = maybe(
      history.filter(isReceived).filter(({ from }) => from !== undefined),
      chance,
    )
    if (!one || !isHighest(history, one)) return undefined
    const { from: _, ...rest } = one
    return instead(history, one, { ...rest, kind: 'recall' })
  },
  'what waited is given after the removal': (history, chance) => {
    const removal = maybe(
      history.filter(one => one.do === 'members' && one.removed.length > 0),
      chance,
    )
    if (removal?.do !== 'members') return undefined
    const before = history.slice(0, history.indexOf(removal)).filter(isReceived)
    const one = before.findLast(
      ({ user, conversation }) => conversation === removal.conversation && user === removal.removed[0],
    )
    if (!one || one.from !== undefined || !isHighest(history, one)) return undefined
    const late = instead(history, removal, removal, { ...one, at: removal.at + 1 })
    return late.filter(operation => operation !== one)
  },
}

export const undelivered: Record<string, Plant> = {
  'the last ones do not come': (history, chance) => {
    const last = maybe(history.filter(isEntry), chance)
    const log = last && logOf(history, last.conversation)?.entries
    const known = log?.findLast(({ text }) => text !== undefined && ackOf(history, text) !== -1)
    const joined = log?.findLast(({ added }) => added?.includes(last?.user ?? ''))?.seq ?? 0
    if (!last || !known || last.seq > known.seq || last.seq <= joined) return undefined
    const { session, conversation, seq } = last
    return history.filter(
      one => !(isReceived(one) && one.session === session && one.conversation === conversation && one.seq >= seq),
    )
  },
}

export const notLinear: Record<string, Plant> = {
  'a read ends too early': (history, chance) => {
    const read = maybe(history.filter(isRead), chance)
    const acked = ackOf(history, read?.items.at(-1)?.text)
    if (!read || acked === -1 || (history[acked]?.at ?? 0) >= read.since) return undefined
    return instead(history, read, { ...read, items: read.items.slice(0, -1) })
  },
  'a read has a hole': (history, chance) => {
    const read = maybe(
      history.filter(isRead).filter(({ items }) => items.length > 2),
      chance,
    )
    const hole = read && 1 + chance.below(read.items.length - 2)
    return read && instead(history, read, { ...read, items: read.items.filter((_, at) => at !== hole) })
  },
  'a read gives another text': (history, chance) => {
    const read = maybe(history.filter(isRead), chance)
    const item =
      read &&
      maybe(
        read.items.filter(({ text }) => text !== undefined),
        chance,
      )
    const other = item && maybe(history.filter(isSent), chance)
    if (!read || !other || other.text === item.text) return undefined
    const isStored = logOf(history, read.conversation)?.entries.some(({ text }) => text === other.text)
    const items = read.items.map(one => (one === item ? { ...one, text: other.text } : one))
    return isStored ? instead(history, read, { ...read, items }) : undefined
  },
  'an older message is stored after a newer one': (history, chance) => {
    const log = chance.of(history.filter(isLog))
    const pairs = log.entries.flatMap((entry, at) => {
      const next = log.entries[at + 1]
      const [one, ...more] = sendsOf(history, entry.text)
      const [two, ...others] = sendsOf(history, next?.text)
      const acked = ackOf(history, entry.text)
      if (!next || !one || !two || more.length + others.length > 0 || one.from === two.from) return []
      return acked !== -1 && acked < history.indexOf(two) ? [[entry, next] as const] : []
    })
    const pair = maybe(pairs, chance)
    return pair && exchanged(history, log, ...pair)
  },
}

/** What of an entry belongs to its place. */
const placeOf = ({ seq, n, sentAt }: LogEntry) => ({ seq, n, sentAt })

/** Stored, told, given and read as if the two had been stored the other way round. */
function exchanged(history: readonly Operation[], log: Log, one: LogEntry, two: LogEntry): Operation[] {
  const other = (text: string | undefined) => (text === one.text ? two.text : text === two.text ? one.text : text)
  const seqs = new Map([
    [one.text, two.seq],
    [two.text, one.seq],
  ])
  return history.map(operation => {
    if (operation === log) {
      const entries = log.entries.map(entry =>
        entry === one ? { ...two, ...placeOf(one) } : entry === two ? { ...one, ...placeOf(two) } : entry,
      )
      return { ...log, entries }
    }
    const { text } = operation as { text?: string }
    if (operation.do === 'acknowledged' && operation.seq !== undefined)
      return { ...operation, seq: seqs.get(text) ?? operation.seq }
    if (isReceived(operation) && text !== undefined) return { ...operation, text: other(text) as string }
    if (!isRead(operation)) return operation
    return {
      ...operation,
      items: operation.items.map(item =>
        item.text === undefined ? item : { ...item, text: other(item.text) as string },
      ),
    }
  })
}
