/** What planted breaches are made with: places in a history, and the history with something else there. */
import type { Chance } from '../support/proof.ts'
import type { Log, LogEntry, Operation, Read, Received, Sent } from './history.ts'

/** Gives the changed history; nothing where the history has no place for it. */
export type Plant = (history: Operation[], chance: Chance) => Operation[] | undefined

export const isReceived = (operation: Operation): operation is Received => operation.do === 'received'
export const isEntry = (operation: Operation): operation is Received =>
  isReceived(operation) && operation.from === undefined
export const isSent = (operation: Operation): operation is Sent => operation.do === 'sent'
export const isRead = (operation: Operation): operation is Read => operation.do === 'read'
export const isLog = (operation: Operation): operation is Log => operation.do === 'log'

export const maybe = <T>(list: readonly T[], chance: Chance): T | undefined =>
  list.length > 0 ? chance.of(list) : undefined
export const ackOf = (history: readonly Operation[], text: string | undefined) =>
  history.findIndex(operation => operation.do === 'acknowledged' && operation.text === text)
export const sendsOf = (history: readonly Operation[], text: string | undefined) =>
  history.filter(isSent).filter(sent => sent.text === text)
export const logOf = (history: readonly Operation[], id: string) =>
  history.filter(isLog).find(log => log.conversation === id)

/** The history with one operation replaced by others. */
export const instead = (history: readonly Operation[], old: Operation, ...others: Operation[]): Operation[] =>
  history.flatMap(operation => (operation === old ? others : [operation]))
/** The history with another log of one conversation. */
export const withLog = (history: readonly Operation[], log: Log, entries: readonly LogEntry[]): Operation[] =>
  instead(history, log, { ...log, entries })

/** First deliveries whose session had the entry before, and gets the one after, in the same stay. */
export function inTheMiddle(history: readonly Operation[]): Received[] {
  const had = new Map<string, number>()
  return history.filter(isReceived).filter((one, at, all) => {
    const key = `${one.session} ${one.conversation}`
    const before = had.get(key) ?? Number.POSITIVE_INFINITY
    had.set(key, Math.max(one.seq, had.get(key) ?? 0))
    if (one.seq !== before + 1 || one.from !== undefined) return false
    const next = all.slice(at).find(({ seq, ...of }) => seq > one.seq && `${of.session} ${of.conversation}` === key)
    // What waited when they left is not owed any more: a gap that ends with their return says no more than that.
    if (next?.from !== undefined) return false
    // A gap that is told later, from before the entry on, makes up for it.
    const isCovered = all.some(
      ({ from, seq, ...of }) =>
        from !== undefined && from <= one.seq && one.seq <= seq && `${of.session} ${of.conversation}` === key,
    )
    return next !== undefined && !isCovered
  })
}

export const isOf = (
  operation: Operation,
  { session, conversation, seq }: Pick<Received, 'session' | 'conversation' | 'seq'>,
): operation is Received =>
  isEntry(operation) &&
  operation.session === session &&
  operation.conversation === conversation &&
  operation.seq === seq

/** Whether its session had nothing as high before. */
export const isHighest = (history: readonly Operation[], { session, conversation, seq, at }: Received): boolean =>
  !history.some(
    one =>
      isReceived(one) && one.session === session && one.conversation === conversation && one.at < at && one.seq >= seq,
  )

export const swapped = (
  history: readonly Operation[],
  one: Operation,
  other: Operation,
  first: object,
  second: object,
) =>
  history.map(operation =>
    operation === one
      ? ({ ...one, ...first } as Operation)
      : operation === other
        ? ({ ...other, ...second } as Operation)
        : operation,
  )
export const whatOf = ({ seq, kind, text }: Received) => ({ seq, kind, text })
export const sayingOf = ({ text, conversation, clientMessageId }: Sent) => ({ text, conversation, clientMessageId })
