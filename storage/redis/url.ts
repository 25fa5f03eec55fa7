/** The address of a Redis: alone, behind Sentinels, or a Cluster. The only reader of such a URL; no sentence of it tells a secret. */

export interface HostPort {
  host: string
  port: number
}
export type Address = {
  tls: boolean
  username?: string
  password?: string
} & (
  | ({ kind: 'alone'; database: number } & HostPort)
  | { kind: 'sentinel'; sentinels: HostPort[]; sentinelPassword?: string; name: string; database: number }
  | { kind: 'cluster'; seeds: HostPort[] }
)

export const ADDRESS_FORMS =
  'redis://[user:password@]host[:port][/database], redis+sentinel://[user:password@]host[:port],…/name[/database] or ' +
  'redis+cluster://[user:password@]host[:port],… (rediss… for TLS)'

const KINDS = { '': 'alone', '+sentinel': 'sentinel', '+cluster': 'cluster' } as const
const PORTS = { alone: 6379, sentinel: 26379, cluster: 6379 } as const

/** @throws Error with one sentence that names what is wrong, and repeats neither user nor password. */
export function parseAddress(text: string, password?: string): Address {
  const match = /^(rediss?)(\+sentinel|\+cluster)?:\/\/(.*)$/s.exec(text)
  if (!match) throw new Error(`The address of Redis has one of the forms ${ADDRESS_FORMS}.`)
  const kind = KINDS[(match[2] ?? '') as keyof typeof KINDS]
  // A password may hold an @ that is not encoded; a host never does.
  const rest = match[3] ?? ''
  const at = rest.lastIndexOf('@')
  const [authority = '', ...path] = rest.slice(at + 1).split('/')
  const shared = { tls: match[1] === 'rediss', ...credentials(at < 0 ? '' : rest.slice(0, at), password) }
  const hosts = authority.split(',').map(item => hostPort(item, PORTS[kind]))

  if (kind === 'cluster') {
    if (path.some(part => part !== ''))
      throw new Error('A Redis Cluster has no numbered databases: leave the path away.')
    return { ...shared, kind, seeds: hosts }
  }
  if (kind === 'sentinel') {
    const [name = '', number, more] = path
    if (name === '' || more !== undefined)
      throw new Error('After the Sentinels comes /name, the name of what they watch.')
    return { ...shared, kind, sentinels: hosts, name: decoded(name), database: database(number) }
  }
  const [only, second] = hosts
  if (!only || second)
    throw new Error('A Redis alone has one host: use redis+sentinel:// or redis+cluster:// for several.')
  if (path.length > 1) throw new Error('After the host of a Redis comes at most /database, a number.')
  return { ...shared, kind, ...only, database: database(path[0]) }
}

export const databaseOf = (address: Address): number => (address.kind === 'cluster' ? 0 : address.database)

/** For logs: where it is, without who we are there. */
export function shown(address: Address): string {
  const at = ({ host, port }: HostPort) => `${host.includes(':') ? `[${host}]` : host}:${port}`
  const scheme = address.tls ? 'rediss' : 'redis'
  if (address.kind === 'alone') return `${scheme}://${at(address)}/${address.database}`
  if (address.kind === 'cluster') return `${scheme}+cluster://${address.seeds.map(at).join(',')}`
  return `${scheme}+sentinel://${address.sentinels.map(at).join(',')}/${address.name}/${address.database}`
}

function credentials(text: string, given: string | undefined): { username?: string; password?: string } {
  const colon = text.indexOf(':')
  const username = decoded(colon < 0 ? text : text.slice(0, colon))
  const password = given ?? (colon < 0 ? '' : decoded(text.slice(colon + 1)))
  if (username && !password) throw new Error('The address of Redis names a user and no password.')
  return { ...(username && { username }), ...(password && { password }) }
}

function hostPort(item: string, standard: number): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]?#\s]+))(?::(\d{1,5}))?$/.exec(item)
  const port = Number(match?.[3] ?? standard)
  const host = match?.[1] ?? match?.[2]
  if (host === undefined || port < 1 || port > 65_535)
    throw new Error('The address of Redis has a host that is not host, host:port or [IPv6]:port.')
  return { host, port }
}

function database(text = ''): number {
  if (!/^\d{0,4}$/.test(text)) throw new Error('The database of a Redis is a number.')
  return Number(text)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new Error('The address of Redis has a % that encodes nothing; write %25 for the sign itself.')
  }
}
