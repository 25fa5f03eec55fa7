/** Breaches to plant into a good history: each changes it in one place, by chance, and has to be found as what it is. */
import type { Acknowledged, Operation, Received, Sent, Verdict } from './history.ts'
import {
  ackOf,
  instead,
  inTheMiddle,
  isEntry,
  isLog,
  isOf,
  isRead,
  isReceived,
  isSent,
  logOf,
  maybe,
  type Plant,
  sayingOf,
  sendsOf,
  swapped,
  whatOf,
  withLog,
} from './planting.ts'
import { gap, notLinear, outside, undelivered } from './plants-given.ts'

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
    return one && first < at ? instead(history, one, { ...one, dup: false }) : undefined
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
