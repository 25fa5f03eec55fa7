/** Breaches to plant into a good history: each changes it in one place, by chance, and has to be found as what it is. */
import type { Chance } from '../support/proof.ts'
import type { Acknowledged, Log, LogEntry, Operation, Read, Received, Sent, Verdict } from './history.ts'

/** Gives the changed history; nothing where the history has no place for it. */
type Plant = (history: Operation[], chance: Chance) => Operation[] | undefined

const isReceived = (operation: Operation): operation is Received => operation.do === 'received'
const isEntry = (operation: Operation): operation is Received => isReceived(operation) && operation.from === undefined
const isSent = (operation: Operation): operation is Sent => operation.do === 'sent'
const isRead = (operation: Operation): operation is Read => operation.do === 'read'
const isLog = (operation: Operation): operation is Log => operation.do === 'log'

const maybe = <T>(list: readonly T[], chance: Chance): T | undefined => (list.length > 0 ? chance.of(list) : undefined)
const ackOf = (history: readonly Operation[], text: string | undefined) =>
  history.findIndex(operation => operation.do === 'acknowledged' && operation.text === text)
const sendsOf = (history: readonly Operation[], text: string | undefined) =>
  history.filter(isSent).filter(sent => sent.text === text)
const logOf = (history: readonly Operation[], id: string) => history.filter(isLog).find(log => log.conversation === id)

/** The history with one operation replaced by others. */
const instead = (history: readonly Operation[], old: Operation, ...others: Operation[]): Operation[] =>
  history.flatMap(operation => (operation === old ? others : [operation]))
/** The history with another log of one conversation. */
const withLog = (history: readonly Operation[], log: Log, entries: readonly LogEntry[]): Operation[] =>
  instead(history, log, { ...log, entries })

/** First deliveries whose session had the entry before, and gets the one after, in the same stay. */
function inTheMiddle(history: readonly Operation[]): Received[] {
  const had = new Map<string, number>()
  return history.filter(isReceived).filter((one, at, all) => {
    const key = `${one.session} ${one.conversation}`
    const before = had.get(key) ?? Number.POSITIVE_INFINITY
    had.set(key, Math.max(one.seq, had.get(key) ?? 0))
    if (one.seq !== before + 1 || one.from !== undefined) return false
    const next = all.slice(at).find(({ seq, ...of }) => seq > one.seq && `${of.session} ${of.conversation}` === key)
    // A gap that is told later, from before the entry on, makes up for it.
    const isCovered = all.some(
      ({ from, seq, ...of }) =>
        from !== undefined && from <= one.seq && one.seq <= seq && `${of.session} ${of.conversation}` === key,
    )
    return next !== undefined && !isCovered
  })
}

const isOf = (
  operation: Operation,
  { session, conversation, seq }: Pick<Received, 'session' | 'conversation' | 'seq'>,
): operation is Received =>
  isEntry(operation) &&
  operation.session === session &&
  operation.conversation === conversation &&
  operation.seq === seq

/** Whether its session had nothing as high before. */
const isHighest = (history: readonly Operation[], { session, conversation, seq, at }: Received): boolean =>
  !history.some(
    one =>
      isReceived(one) && one.session === session && one.conversation === conversation && one.at < at && one.seq >= seq,
  )

const swapped = (history: readonly Operation[], one: Operation, other: Operation, first: object, second: object) =>
  history.map(operation =>
    operation === one
      ? ({ ...one, ...first } as Operation)
      : operation === other
        ? ({ ...other, ...second } as Operation)
        : operation,
  )
const whatOf = ({ seq, kind, text }: Received) => ({ seq, kind, text })
const sayingOf = ({ text, conversation, clientMessageId }: Sent) => ({ text, conversation, clientMessageId })

const lost: Record<string, Plant> = {
  'one more is acknowledged': (history, chance) => {
    const sent = chance.of(history.filter(isSent))
    const more: Sent = { ...sent, text: 'never stored' }
    delete more.clientMessageId
    return instead(history, sent, sent, more, { do: 'acknowledged', at: sent.at, text: more.text })
  },
  'the end of a log is gone': (history, chance) => {
    const log = chance.of(history.filter(isLog))
    const last = log.entries.at(-1)
    if (last?.kind !== 'message' || ackOf(history, last.text) === -1) return undefined
    const { conversation } = log
    return withLog(history, log, log.entries.slice(0, -1)).flatMap((operation): Operation[] => {
      if (isReceived(operation) && operation.conversation === conversation && operation.seq === last.seq) return []
      return isRead(operation) && operation.conversation === conversation ? [] : [operation]
    })
  },
}

const doubled: Record<string, Plant> = {
  'stored twice': (history, chance) => {
    const log = chance.of(history.filter(isLog))
    const entry = maybe(
      log.entries.filter(({ kind }) => kind === 'message'),
      chance,
    )
    const last = log.entries.at(-1)
    if (!entry || !last) return undefined
    return withLog(history, log, [...log.entries, { ...entry, seq: last.seq + 1, n: last.n + 1, sentAt: last.sentAt }])
  },
  'delivered twice on one connection': (history, chance) => {
    const one = maybe(history.filter(isEntry), chance)
    return one && instead(history, one, one, { ...one, dup: chance.happens(0.5) })
  },
  'sent again without DUP': (history, chance) => {
    const one = maybe(
      history.filter(isEntry).filter(({ dup }) => dup),
      chance,
    )
    const at = one ? history.indexOf(one) : -1
    const first = one ? history.findIndex(operation => isOf(operation, one)) : -1
    const hasCrashed = history.slice(Math.max(first, 0), at).some(operation => 'what' in operation)
    return one && first < at && !hasCrashed ? instead(history, one, { ...one, dup: false }) : undefined
  },
}

const reordered: Record<string, Plant> = {
  'delivered in another order': (history, chance) => {
    const one = maybe(inTheMiddle(history), chance)
    const next = one && history.find(operation => isOf(operation, { ...one, seq: one.seq + 1 }))
    if (!next || !isReceived(next) || next.connection !== one.connection) return undefined
    return swapped(history, one, next, whatOf(next), whatOf(one))
  },
  'stored in another order': (history, chance) => {
    const log = chance.of(history.filter(isLog))
    const once = log.entries.flatMap(({ text }) => {
      const sends = text === undefined ? [] : sendsOf(history, text)
      return sends.length === 1 ? sends : []
    })
    const one = maybe(once, chance)
    const at = one ? history.indexOf(one) : -1
    const next = once.find(two => one && two.connection === one.connection && history.indexOf(two) > at)
    const isPipelined = history
      .slice(at, next && history.indexOf(next))
      .every(({ do: what }) => what !== 'acknowledged')
    if (!one || !next || !isPipelined) return undefined
    return swapped(history, one, next, sayingOf(next), sayingOf(one))
  },
}

const gap: Record<string, Plant> = {
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

const phantom: Record<string, Plant> = {
  'nobody sent what came': (history, chance) => {
    const one = maybe(
      history.filter(isEntry).filter(({ text }) => text !== undefined),
      chance,
    )
    return one && instead(history, one, { ...one, text: 'out of nowhere' })
  },
  'another text came than is in the log': (history, chance) => {
    const one = maybe(
      history.filter(isEntry).filter(({ text }) => text !== undefined),
      chance,
    )
    const log = one && logOf(history, one.conversation)
    const other = log?.entries.find(({ text }) => text !== undefined && text !== one?.text)
    return one && other?.text !== undefined ? instead(history, one, { ...one, text: other.text }) : undefined
  },
  'what was refused is stored': (history, chance) => {
    const log = chance.of(history.filter(isLog))
    const sends = log.entries.flatMap(({ text }) => sendsOf(history, text))
    const one = maybe(
      sends.filter(({ text }) => sendsOf(history, text).length === 1),
      chance,
    )
    return one && instead(history, one, one, { do: 'refused', at: one.at, text: one.text, code: 'not-allowed' })
  },
  'what is stored was never sent': (history, chance) => {
    const log = chance.of(history.filter(isLog))
    const one = maybe(
      log.entries.filter(({ text }) => text !== undefined),
      chance,
    )
    return one && history.filter(operation => !(isSent(operation) && operation.text === one.text))
  },
  'what came is not in the log': (history, chance) => {
    const one = maybe(history.filter(isEntry), chance)
    const last = one && logOf(history, one.conversation)?.entries.at(-1)
    if (!one || !last) return undefined
    const ends = history.findLast(operation => isReceived(operation) && operation.session === one.session) as Received
    const { connection, at } = ends
    const { text: _, ...rest } = one
    return instead(history, ends, ends, { ...rest, connection, at, seq: last.seq + 1, kind: 'recall' })
  },
  'it was acknowledged as another': (history, chance) => {
    const acks = history.filter((one): one is Acknowledged => one.do === 'acknowledged' && one.seq !== undefined)
    const one = maybe(acks, chance)
    return one && instead(history, one, { ...one, seq: (one.seq ?? 0) + 1 })
  },
}

const outside: Record<string, Plant> = {
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

const undelivered: Record<string, Plant> = {
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

const notLinear: Record<string, Plant> = {
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

export const PLANTS: Record<Verdict, Record<string, Plant>> = {
  lost,
  doubled,
  reordered,
  gap,
  phantom,
  'not-a-member': outside,
  undelivered,
  'not-linear': notLinear,
}
