/**
 * How large a cluster has to be. `node docs/sizing.mjs` prints it for numbers of your own (`--help`), and `--write` puts the
 * tables of docs/sizing.md into it. Costs are measured by `npm run bench`; what is made of them is arithmetic.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { COSTS } from './costs.mjs'

export { COSTS }

const cost = Object.fromEntries(Object.entries(COSTS).map(([name, [value]]) => [name, value]))

/** Seconds between two looks of a server at a conversation that it follows, and the most in a second: storage/cassandra/rounds.ts. */
const LOOK_S = 60
const MAX_LOOKS = 200
const looksFor = followed => Math.min(followed / LOOK_S, MAX_LOOKS)
const TEXT_BYTES = 200
const DAY_S = 86_400

/** What a reader may put in: value, meaning. */
export const INPUTS = {
  users: [50_000, 'accounts'],
  online: [0.2, 'share of them that is connected at the peak'],
  messages: [20, 'messages that an account sends a day'],
  peak: [4, 'messages a second at the peak, against those of the mean second'],
  pairs: [15, 'people that an account talks to alone'],
  groups: [5, 'groups that an account is in'],
  members: [20, 'members of a group'],
  'group-share': [0.3, 'share of the messages that goes to groups'],
  connects: [20, 'times that an account connects a day'],
  text: [200, 'bytes of a text'],
  days: [365, 'days that messages are kept'],
  replication: [3, 'copies in Cassandra'],
  compression: [0.6, 'size on disk against size of the rows; assumed, it depends on what people write'],
  load: [0.5, 'share of a core, and of a disk, that is used at the peak'],
  connections: [20_000, 'connections of a server at most (IM_MAX_CONNECTIONS)'],
  'cassandra-cores': [8, 'cores of a node of Cassandra'],
  'cassandra-tb': [2, 'TB of disk of a node of Cassandra'],
}
export const DEFAULTS = Object.fromEntries(Object.entries(INPUTS).map(([name, [value]]) => [name, value]))

/** Servers on which somebody is online of so many members. */
const reached = (members, online, servers) => servers * (1 - (1 - online / servers) ** members)

export function model(given = {}) {
  const in_ = { ...DEFAULTS, ...given }
  const perDay = in_.users * in_.messages
  const perSecond = (perDay / DAY_S) * in_.peak
  const members = 2 * (1 - in_['group-share']) + in_.members * in_['group-share']
  const traffic = { ...in_, perDay, perSecond, members, connected: in_.users * in_.online }
  const servers = serversFor(traffic)
  return {
    ...traffic,
    servers,
    looks: looksOf(servers),
    cassandra: cassandraFor(traffic, servers),
    redis: redisFor(traffic, servers),
    network: networkFor(traffic),
  }
}

/** More servers hear more, so their number is looked for from below. */
function serversFor(traffic) {
  const byConnections = Math.ceil(traffic.connected / traffic.connections)
  for (let count = Math.max(2, byConnections); ; count++) {
    const cores = serverCores(traffic, count)
    const needed = Math.ceil(cores / traffic.load)
    if (needed > count) {
      // Far off, a step of a fifth of the way does not pass the answer by more than it is worth.
      count += Math.floor((needed - count) / 5)
      continue
    }
    const followed = followedBy(traffic, count)
    const bytes = (traffic.connected / count) * cost.connectionKib * 1024 + followed * cost.followedKib * 1024
    return {
      count: count + 1,
      cores,
      by: needed > byConnections ? 'processor' : 'connections',
      followed,
      gib: 0.2 + bytes / 2 ** 30,
    }
  }
}

function serverCores(traffic, count) {
  const message =
    cost.serverMessage + (traffic.members - 2) * cost.serverDelivery + heardBy(traffic, count) * cost.heard
  const looks = looksFor(followedBy(traffic, count)) * count
  return (traffic.perSecond * message + connectsOf(traffic) * cost.serverConnect + looks * cost.serverLook) / 1e6
}

const connectsOf = ({ users, connects, peak }) => ((users * connects) / DAY_S) * peak

/** Servers but the sender's own that hear of a message. */
function heardBy({ members, online, 'group-share': share }, count) {
  const all = (1 - share) * reached(2, online, count) + share * reached(members, online, count)
  return Math.max(0, all - 1)
}

/** Conversations that one of so many servers follows, since somebody in it is connected there. */
function followedBy({ users, pairs, groups, members, online }, count) {
  const share = size => reached(size, online, count) / count
  return ((users * pairs) / 2) * share(2) + ((users * groups) / Math.max(2, members)) * share(members)
}

/** A second, of all servers: the one to spare follows nothing that the others would not. */
const looksOf = ({ count, followed }) => looksFor(followed) * (count - 1)

function cassandraFor(traffic, { count, followed }) {
  const copies = 1 + ((traffic.replication - 1) * (cost.copies - 1)) / 2
  const message = cost.cassandraMessage + (traffic.members - 2) * cost.cassandraDelivery
  const us = traffic.perSecond * message + connectsOf(traffic) * cost.cassandraConnect
  const cores = (copies * us + looksOf({ count, followed }) * cost.cassandraLook) / 1e6
  const bytes =
    traffic.perDay * traffic.days * (cost.entryBytes + traffic.text) * traffic.compression * traffic.replication
  const tb = bytes / 1e12
  const byCores = Math.ceil(cores / traffic.load / traffic['cassandra-cores'])
  const byDisk = Math.ceil(tb / traffic.load / traffic['cassandra-tb'])
  const nodes = Math.max(traffic.replication, byCores, byDisk)
  return {
    cores,
    tb,
    nodes,
    by: nodes === traffic.replication ? 'copies' : byCores > byDisk ? 'processor' : 'disk',
  }
}

function redisFor(traffic, { count, followed }) {
  const heard = 1 + heardBy(traffic, count)
  const message = cost.redisMessage + (traffic.members - 2) * cost.redisDelivery
  const cores = (traffic.perSecond * message * heard) / 1e6
  const commands = traffic.perSecond * (cost.commandsMessage + (traffic.members - 2) * cost.commandsDelivery)
  const bytes = traffic.connected * cost.connectionRedis + followed * (count - 1) * cost.followedRedis
  return { cores, commands, gib: bytes / 2 ** 30, clusters: Math.max(1, Math.ceil(cores / traffic.load)) }
}

function networkFor({ perSecond, members, text }) {
  const more = (members + 1) * (text - TEXT_BYTES)
  const of = (message, delivery) => (perSecond * (message + (members - 2) * delivery + more) * 8) / 1e6
  const clients = of(cost.clientMessage, cost.clientDelivery)
  return { clients, inside: of(cost.serverBytesMessage, cost.serverBytesDelivery) - clients }
}

// ---- printing ----

/** Two digits that count: no more is known. */
function about(value) {
  if (value === 0) return '0'
  const rounded = Number(value.toPrecision(value >= 1000 ? 3 : 2))
  return rounded.toLocaleString('en-US', { maximumFractionDigits: rounded < 10 ? 2 : 0 })
}
const exact = value => value.toLocaleString('en-US')

const ROWS = [
  ['connected at the peak', it => exact(Math.round(it.connected))],
  ['messages a day', it => about(it.perDay)],
  ['messages a second at the peak', it => about(it.perSecond)],
  ['deliveries a second at the peak', it => about(it.perSecond * it.members)],
  ['**servers**, of one core each, one of them to spare', it => exact(it.servers.count)],
  ['their number follows from', it => it.servers.by],
  ['cores that servers use at the peak, all', it => about(it.servers.cores)],
  ['of that for looks at conversations that they follow', it => about((it.looks * cost.serverLook) / 1e6)],
  ['memory of a server, GiB', it => about(it.servers.gib)],
  ['conversations that a server follows', it => about(it.servers.followed)],
  ['**nodes of Cassandra**', it => exact(it.cassandra.nodes)],
  ['their number follows from', it => it.cassandra.by],
  ['cores that Cassandra uses at the peak, all nodes', it => about(it.cassandra.cores)],
  ['of that for looks of servers', it => about((it.looks * cost.cassandraLook) / 1e6)],
  ['looks of servers at conversations, a second', it => about(it.looks)],
  ['disk that Cassandra uses, all nodes, TB', it => about(it.cassandra.tb)],
  ['cores that **Redis** uses at the peak', it => about(it.redis.cores)],
  ['**clusters**, as one thread of Redis carries the bus of each', it => exact(it.redis.clusters)],
  ['commands to Redis a second', it => about(it.redis.commands)],
  ['memory of Redis, GiB', it => about(it.redis.gib)],
  ['network to clients at the peak, Mbit/s', it => about(it.network.clients)],
  ['network between the parts at the peak, Mbit/s', it => about(it.network.inside)],
]

export function printed(...columns) {
  const head = columns.map(({ users }) => `${exact(users)} accounts`)
  return [
    `| | ${head.join(' | ')} |`,
    `| --- |${' ---: |'.repeat(columns.length)}`,
    ...ROWS.map(([name, of]) => `| ${name} | ${columns.map(of).join(' | ')} |`),
  ].join('\n')
}

const TABLES = {
  sizes: () => printed(...[50_000, 5_000_000, 50_000_000].map(users => model({ users }))),
  inputs: () =>
    [
      '| option | value | meaning |',
      '| --- | ---: | --- |',
      ...Object.entries(INPUTS).map(([name, [value, says]]) => `| \`--${name}\` | ${exact(value)} | ${says} |`),
    ].join('\n'),
  costs: () =>
    [
      '| name | value | of what | by |',
      '| --- | ---: | --- | --- |',
      ...Object.entries(COSTS).map(
        ([name, [value, says, by]]) => `| \`${name}\` | ${exact(value)} | ${says} | ${by} |`,
      ),
    ].join('\n'),
}

/** The document, with what stands between the marks of each table put anew. */
export function written(document) {
  return Object.entries(TABLES).reduce((text, [name, table]) => {
    const marks = new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- /${name} -->)`)
    if (!marks.test(text)) throw new Error(`no place for the table ${name}`)
    return text.replace(marks, (_, from, to) => `${from}${table()}\n${to}`)
  }, document)
}

function main() {
  const options = Object.fromEntries(Object.keys(INPUTS).map(name => [name, { type: 'string' }]))
  const { values } = parseArgs({ options: { ...options, write: { type: 'boolean' }, help: { type: 'boolean' } } })
  const { write, help, ...given } = values
  const file = fileURLToPath(new URL('sizing.md', import.meta.url))
  if (write) return writeFileSync(file, written(readFileSync(file, 'utf8')))
  if (help) return process.stdout.write(`node docs/sizing.mjs [options]\n\n${TABLES.inputs()}\n`)
  const numbers = Object.entries(given).map(([name, text]) => [name, Number(text)])
  const wrong = numbers.find(([name, value]) => !(value > 0 || (value === 0 && name === 'group-share')))
  if (wrong) {
    process.stderr.write(`--${wrong[0]} takes a number above 0\n`)
    process.exitCode = 2
    return
  }
  process.stdout.write(`${printed(model(Object.fromEntries(numbers)))}\n`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
