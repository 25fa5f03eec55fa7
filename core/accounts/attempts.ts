/** What an attempt is counted against. */
import type { AppId, UserId } from '../../protocol/ids.ts'
import type { ThrottleKey } from '../ports.ts'

/** A wrong password: the account it was for, the network it came from, and that network's failures of any kind. */
export const guess = (app: AppId, user: UserId, address: string): [ThrottleKey, ThrottleKey, ThrottleKey] => {
  const network = networkOf(address)
  return [`account:${app}/${user}`, `guesses:${network}`, `entrance:${network}`]
}
/** A registration, a failed log-in or a failed CONNECT. */
export const entrance = (address: string): ThrottleKey => `entrance:${networkOf(address)}`

/** An IPv4 address as it is; of an IPv6 address the first 64 bits, since whoever has one has all that begin so. */
export function networkOf(address: string): string {
  const text = address.split('%', 1)[0]?.toLowerCase() ?? ''
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(text)?.[1]
  if (mapped) return mapped
  if (!text.includes(':')) return text
  const [before = '', after] = text.split('::', 2)
  const head = before === '' ? [] : before.split(':')
  const tail = after ? after.split(':') : []
  // `::` stands for as many zeros as are missing of eight groups; an IPv4 address at the end takes two of them.
  const dotted = tail.at(-1)?.includes('.') ? 1 : 0
  const zeros = after === undefined ? 0 : Math.max(0, 8 - head.length - tail.length - dotted)
  const groups = [...head, ...Array<string>(zeros).fill('0'), ...tail]
  return `${groups.slice(0, 4).map(shortest).join(':')}::/64`
}
const shortest = (group: string) => group.replace(/^0+(?=.)/, '')
