/**
 * Every setting, once: type, check, default, variable and manual row. The only reader of the environment.
 * Every default works without any outside service.
 */
import { isIP } from 'node:net'
import { z } from 'zod'

const whole = (min: number, max: number, standard: number) =>
  z
    .string()
    .regex(/^\d{1,10}$/)
    .transform(Number)
    .pipe(z.int().min(min).max(max))
    .prefault(String(standard))
const port = (standard: number) => whole(0, 65_535, standard)
const onOff = (standard: 'on' | 'off') =>
  z
    .enum(['on', 'off'])
    .prefault(standard)
    .transform(value => value === 'on')
const list = (check: (item: string) => boolean, standard: string) =>
  z
    .string()
    .transform(text => text.split(',').flatMap(item => item.trim() || []))
    .refine(items => items.every(check))
    .prefault(standard)
const file = z.string().min(1).optional()

function isNetwork(item: string): boolean {
  const [address = '', prefix, more] = item.split('/')
  const bits = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : -1
  return (
    bits > 0 && more === undefined && (prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits))
  )
}
const isHost = (item: string) => /^([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?$/.test(item)
const isOrigin = (item: string) => item === '*' || (URL.canParse(item) && new URL(item).origin === item)

type About = {
  env: string
  description: string
  /** What a value looks like, for the sentence about a bad one. */
  takes: string
  /** The default's wording where it is not the value itself. */
  standard?: string
  secret?: true
}
const about = (env: string, takes: string, description: string, more: Partial<About> = {}): About => ({
  env,
  takes,
  description,
  ...more,
})

// biome-ignore format: a table, a row a line
export const Config = z.object({
  dataDirectory: z.string().min(1).prefault('./data').meta(about('IM_DATA_DIR', 'a directory', 'Where messages, accounts and keys are kept. Made when absent.')),
  httpPort: port(8080).meta(about('IM_HTTP_PORT', 'a port, 0 to 65535', 'Port of REST, the documents and MQTT over WebSocket (`/mqtt`); 0 picks a free one. HTTPS when a certificate is set.')),
  mqttPort: port(1883).meta(about('IM_MQTT_PORT', 'a port, 0 to 65535', 'Port of MQTT over TCP; 0 picks a free one.')),
  mqttsPort: port(8883).meta(about('IM_MQTTS_PORT', 'a port, 0 to 65535', 'Port of MQTT over TLS, open when a certificate is set; 0 picks a free one.')),
  tlsCertificate: file.meta(about('IM_TLS_CERT', 'the path of a PEM file', 'Certificate chain, PEM. Needs `IM_TLS_KEY`.', { standard: 'none' })),
  tlsKey: file.meta(about('IM_TLS_KEY', 'the path of a PEM file', 'Private key of the certificate, PEM.', { standard: 'none' })),
  bind: z.string().refine(text => isIP(text) !== 0 || /^[a-zA-Z0-9.-]{1,253}$/.test(text)).prefault('127.0.0.1').meta(about('IM_BIND', 'an address or host name', 'Address of all listeners; `0.0.0.0` or `::` for every interface.')),
  storage: z.enum(['level', 'memory', 'cassandra']).prefault('level').meta(about('IM_STORAGE', 'level, memory or cassandra', '`level`: on this disk. `memory`: for trying out, gone at the end. `cassandra`: in a cluster that any number of servers share.')),
  cassandraHosts: list(isHost, '127.0.0.1').refine(hosts => hosts.length > 0).meta(about('IM_CASSANDRA_HOSTS', 'hosts such as cassandra1 or 10.0.0.5:9042, with commas between', 'Nodes of Cassandra that are asked first where the others are. All nodes have the port of the first one.')),
  cassandraDatacenter: z.string().regex(/^[\w.-]{1,64}$/).prefault('datacenter1').meta(about('IM_CASSANDRA_DATACENTER', 'the name of a datacenter', 'Datacenter of Cassandra that this server is in.')),
  cassandraKeyspace: z.string().regex(/^[a-z][a-z0-9_]{0,47}$/).prefault('im').meta(about('IM_CASSANDRA_KEYSPACE', 'a name of at most 48 small letters, digits and _', 'Keyspace of Cassandra; made when absent.')),
  cassandraReplication: whole(1, 9, 3).meta(about('IM_CASSANDRA_REPLICATION', 'a whole number, 1 to 9', 'Copies of everything in the datacenter, used only when the keyspace is made. Fewer than 3 do not survive a node of Cassandra that stops.')),
  cassandraConsistency: z.enum(['local-quorum', 'quorum']).prefault('local-quorum').meta(about('IM_CASSANDRA_CONSISTENCY', 'local-quorum or quorum', '`local-quorum`: one datacenter writes, and every server is there. `quorum`: servers are in any, and every write asks all. Kept with the data: a server that differs does not start.')),
  cassandraBucket: whole(10, 100_000, 10_000).meta(about('IM_CASSANDRA_BUCKET', 'a whole number, 10 to 100000', 'Entries of a conversation in one partition of Cassandra. Kept with the data: a server that differs does not start.')),
  cassandraUser: z.string().min(1).max(256).optional().meta(about('IM_CASSANDRA_USER', '1 to 256 characters', 'Name to log in to Cassandra with. Needs `IM_CASSANDRA_PASSWORD_FILE`.', { standard: 'none' })),
  cassandraPasswordFile: file.meta(about('IM_CASSANDRA_PASSWORD_FILE', 'the path of a file', 'File with the password of that name.', { standard: 'none' })),
  cassandraCa: file.meta(about('IM_CASSANDRA_CA', 'the path of a PEM file', 'Certificate of the authority that signed those of the nodes, PEM; the connections are TLS with it.', { standard: 'none' })),
  node: z.string().regex(/^[\w.-]{1,64}$/).optional().meta(about('IM_NODE', 'a name of letters, digits, ., _ and -', 'Name of this server among those of its cluster, another for each.', { standard: 'the host name' })),
  redisUrl: z.string().regex(/^rediss?(\+sentinel|\+cluster)?:\/\/./).optional().meta(about('IM_REDIS_URL', 'redis://[user:password@]host[:port][/database], redis+sentinel://[user:password@]host[:port],…/name[/database] or redis+cluster://[user:password@]host[:port],… (rediss… for TLS)', 'Redis that the servers of a cluster share: alone, behind Sentinels, or a Cluster. What it holds may be lost. Needed with `IM_STORAGE=cassandra`.', { standard: 'none', secret: true })),
  redisPasswordFile: file.meta(about('IM_REDIS_PASSWORD_FILE', 'the path of a file', 'File with the password of Redis, in place of one in the URL.', { standard: 'none' })),
  redisSentinelPasswordFile: file.meta(about('IM_REDIS_SENTINEL_PASSWORD_FILE', 'the path of a file', 'File with the password of the Sentinels, where they have one of their own.', { standard: 'none' })),
  fsync: onOff('on').meta(about('IM_FSYNC', 'on or off', '`off` acknowledges messages before the disk has them: a power cut or a crash of the machine loses acknowledged messages (a crash of the process alone does not). For tests only.')),
  diskLowWaterMiB: whole(0, 1_048_576, 256).meta(about('IM_DISK_LOW_WATER_MB', 'a whole number of MiB', 'Free disk space in MiB below which nothing more is accepted; 0 switches the check off.')),
  ownerPassword: z.string().min(8).max(256).optional().meta(about('IM_OWNER_PASSWORD', '8 to 256 characters', 'Password of the account `owner`, used only when the first start creates it.', { standard: 'made up at the first start and written to `owner-password` in the data directory', secret: true })),
  registration: z.enum(['open', 'closed']).prefault('open').meta(about('IM_REGISTRATION', 'open or closed', 'Whether people make their own accounts.')),
  sessionExpiryDays: whole(1, 3_650, 30).meta(about('IM_SESSION_EXPIRY_DAYS', 'a whole number of days, 1 to 3650', 'How long the session of an absent MQTT 3.1.1 client is kept; an MQTT 5 client says it itself.')),
  retentionDays: whole(0, 36_500, 0).meta(about('IM_RETENTION_DAYS', 'a whole number of days, 0 to 36500', 'Entries older than this are removed from every conversation, but for its last one; 0 keeps all. Who has not had them is told of the gap.')),
  recallWindowSeconds: whole(0, 31_536_000, 120).meta(about('IM_RECALL_WINDOW_SECONDS', 'a whole number of seconds', 'How long a sender may recall a message.')),
  rateLimits: onOff('on').meta(about('IM_RATE_LIMITS', 'on or off', '`off` lifts the limits on attempts and rates: for benchmarks, never on a network.')),
  maxConnections: whole(1, 1_000_000, 20_000).meta(about('IM_MAX_CONNECTIONS', 'a whole number, 1 to 1000000', 'Clients connected at once, by MQTT and WebSocket. HTTP has room for 1,000 connections beside them.')),
  connectionsPerUser: whole(1, 10_000, 50).meta(about('IM_CONNECTIONS_PER_USER', 'a whole number, 1 to 10000', 'MQTT connections of one user at once, at one server.')),
  windowMessages: whole(1, 1_000, 100).meta(about('IM_WINDOW_MESSAGES', 'a whole number, 1 to 1000', 'Unacknowledged messages that one session may have, at most.')),
  windowBytes: whole(1_024, 16_777_216, 262_144).meta(about('IM_WINDOW_BYTES', 'a whole number of bytes, 1024 to 16777216', 'Unacknowledged bytes that one session may have; one message is always sent.')),
  trustedProxies: list(isNetwork, '').meta(about('IM_TRUSTED_PROXIES', 'addresses or networks such as 10.0.0.0/8, with commas between', 'Reverse proxies: `X-Forwarded-For` is believed from these only.', { standard: 'none' })),
  proxyProtocol: onOff('off').meta(about('IM_PROXY_PROTOCOL', 'on or off', 'A proxy puts the PROXY header (version 1 or 2) before every connection of the MQTT ports; `on` refuses connections without it.')),
  corsOrigins: list(isOrigin, '*').meta(about('IM_CORS_ORIGINS', 'origins such as https://chat.example.com, with commas between, or *', 'Origins whose pages may call `/v1`. Any may by default: callers prove themselves by token, never by cookie.')),
  metricsToken: z.string().min(8).max(256).optional().meta(about('IM_METRICS_TOKEN', '8 to 256 characters', 'Bearer token of `/metrics`. Without one it answers to this machine only.', { standard: 'none', secret: true })),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).prefault('info').meta(about('IM_LOG_LEVEL', 'trace, debug, info, warn, error, fatal or silent', 'What is logged to standard error.')),
})
export type Config = z.output<typeof Config>

/** One sentence per problem, for people. */
export class ConfigError extends Error {
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
  }
}

type Name = keyof Config
const names = Object.keys(Config.shape) as Name[]
const aboutOf = (name: Name) => Config.shape[name].meta() as unknown as About
const nameOf = new Map(names.map(name => [aboutOf(name).env, name]))

/** @throws ConfigError: every variable that is unknown or has a bad value, at once. An empty value counts as none. */
export function readConfig(environment: Readonly<Record<string, string | undefined>> = process.env): Config {
  const problems: string[] = []
  const given: Record<string, string> = {}
  for (const [env, value] of Object.entries(environment)) {
    if (!env.startsWith('IM_')) continue
    const name = nameOf.get(env)
    if (!name) problems.push(`${env} is not a setting; the nearest one is ${nearest(env)}.`)
    else if (value) given[name] = value
  }
  const parsed = Config.safeParse(given)
  const wrong = new Set(parsed.error?.issues.map(issue => issue.path[0] as Name))
  problems.push(...[...wrong].map(name => badValue(name, given[name])))
  if (parsed.success) problems.push(...contradictions(parsed.data))
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems)
  return parsed.data
}

/** Of an environment, the variables that can be gone by. */
export function readable(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string | undefined> {
  const good = Object.entries(environment).filter(([env, value]) => {
    try {
      return readConfig({ [env]: value })
    } catch {
      return false
    }
  })
  return Object.fromEntries(good)
}

function badValue(name: Name, value: string | undefined): string {
  const { env, takes, secret } = aboutOf(name)
  return `${env} takes ${takes}${secret ? '.' : `, not ${JSON.stringify(value)}.`}`
}

function contradictions(config: Config): string[] {
  const found: string[] = []
  if ((config.tlsCertificate === undefined) !== (config.tlsKey === undefined))
    found.push('IM_TLS_CERT and IM_TLS_KEY are needed together: one of them is missing.')
  if (config.storage === 'cassandra' && config.redisUrl === undefined)
    found.push('IM_STORAGE=cassandra needs IM_REDIS_URL: the servers of a cluster share one.')
  if (config.storage !== 'cassandra' && config.redisUrl !== undefined)
    found.push('IM_REDIS_URL is of no use without IM_STORAGE=cassandra: a server alone needs none.')
  if ((config.cassandraUser === undefined) !== (config.cassandraPasswordFile === undefined))
    found.push('IM_CASSANDRA_USER and IM_CASSANDRA_PASSWORD_FILE are needed together: one of them is missing.')
  if (config.redisPasswordFile !== undefined && config.redisUrl === undefined)
    found.push('IM_REDIS_PASSWORD_FILE is of no use without IM_REDIS_URL.')
  if (config.redisSentinelPasswordFile !== undefined && !config.redisUrl?.includes('+sentinel:'))
    found.push('IM_REDIS_SENTINEL_PASSWORD_FILE is of no use without Sentinels in IM_REDIS_URL.')
  return found
}

/** The known variable with the fewest letters to change. */
function nearest(env: string): string {
  const all = [...nameOf.keys()]
  return all.reduce((best, known) => (distance(env, known) < distance(env, best) ? known : best))
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const changed = (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min((above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, changed))
    }
    above = row
  }
  return above[b.length] ?? 0
}

/** The settings as a Markdown table. */
export function settingsTable(): string {
  const standards = readConfigDefaults()
  const rows = names.map(name => {
    const { env, description, standard } = aboutOf(name)
    return `| \`${env}\` | ${standard ?? `\`${standards[name]}\``} | ${description} |`
  })
  return ['| setting | default | meaning |', '|---|---|---|', ...rows].join('\n')
}

function readConfigDefaults(): Record<string, unknown> {
  const word = (value: unknown) => (value === true ? 'on' : value === false ? 'off' : value)
  return Object.fromEntries(Object.entries(readConfig({})).map(([name, value]) => [name, word(value)]))
}
