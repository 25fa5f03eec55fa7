/** Everything on one Redis: three connections (commands, publisher, subscriber), open whether or not it is there. */
import { readFile } from 'node:fs/promises'
import type { Cluster } from '../../core/ports.ts'
import { PREFIX, RedisBus } from './bus.ts'
import { Commands } from './commands.ts'
import { type Counters, redisCounters } from './counters.ts'
import { RedisLeases } from './leases.ts'
import { Outages, type Told } from './trouble.ts'
import { type Address, parseAddress, shown } from './url.ts'

export interface RedisAccess {
  url: string
  /** A file with the password, in place of one in the URL; a newline at its end does not count. */
  passwordFile?: string | undefined
  /** A file with that of the Sentinels, where they have one. */
  sentinelPasswordFile?: string | undefined
}
export interface RedisOptions extends RedisAccess {
  /** The name of this node, another for each. */
  node: string
  /** Before every key and channel. */
  prefix?: string
  /** How long a node counts as living after its last sign of life. */
  lifeMs?: number
  /** Connections that went, and came back. */
  tell?: (told: Told) => void
}

export interface RedisCluster extends Cluster {
  /** Where it is, without secrets. */
  readonly address: string
  /** Makes limiters whose counts all nodes share. */
  counters: Counters
  figures(): RedisFigures
}

/** What there is to tell of a Redis, as one node sees it. */
export interface RedisFigures {
  /** Since Redis last answered; it is asked every second. */
  silentMs: number
  /** Times that it stopped answering. */
  losses: number
  /** Other nodes whose lease ran out while Redis was there; who gives it up is not among them. */
  nodesLost: number
  /** A run of this node's name before had not given up its lease when this one began. */
  startedAfterCrash: boolean
  /** This machine's clock less that of Redis, where they were compared within 30 s. */
  clockOffsetMs: number | undefined
}

/** @throws Error, one sentence without secrets: the URL or the password file cannot be gone by. That Redis is away is none. */
export async function openRedis(options: RedisOptions): Promise<RedisCluster> {
  const { node, prefix = PREFIX } = options
  const outages = new Outages(options.tell)
  const tell = (told: Told) => outages.say(told)
  const address = await addressOf(options)
  const commands = new Commands(address, `im-${asName(node)}`, tell)
  const bus = new RedisBus(address, prefix, node, tell)
  const leases = new RedisLeases(commands, prefix, node, options.lifeMs)
  leases.onNodes(() => bus.meet(leases.others))
  await Promise.all([bus.open(), commands.open().then(() => leases.open())])
  return {
    node,
    address: shown(address),
    bus,
    leases,
    counters: redisCounters(commands.client, prefix),
    figures: () => ({
      silentMs: performance.now() - Math.max(bus.answeredAt, commands.answeredAt),
      losses: outages.count,
      nodesLost: leases.lost,
      startedAfterCrash: leases.startedAfterCrash,
      clockOffsetMs: leases.clockOffsetMs,
    }),
    async [Symbol.asyncDispose]() {
      await bus[Symbol.asyncDispose]()
      await leases[Symbol.asyncDispose]()
      commands.close()
    },
  }
}

/** What Redis takes as the name of a connection. */
const asName = (node: string) => node.replace(/[^\w.-]/g, '_')

/** @throws Error, one sentence without secrets */
export async function addressOf({ url, passwordFile, sentinelPasswordFile }: RedisAccess): Promise<Address> {
  const address = parseAddress(url, passwordFile && (await passwordIn(passwordFile)))
  if (address.kind !== 'sentinel' || !sentinelPasswordFile) return address
  return { ...address, sentinelPassword: await passwordIn(sentinelPasswordFile, 'the Sentinels') }
}

async function passwordIn(file: string, whose = 'Redis'): Promise<string> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Error(`The file with the password of ${whose} cannot be read: ${error.code}.`)
  })
  const password = text.replace(/\r?\n$/, '')
  if (password === '') throw new Error(`The file with the password of ${whose} is empty.`)
  return password
}
