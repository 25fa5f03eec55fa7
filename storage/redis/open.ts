/** Everything on one Redis: three connections (commands, publisher, subscriber), open whether or not it is there. */
import { readFile } from 'node:fs/promises'
import type { Cluster } from '../../core/ports.ts'
import { RedisBus } from './bus.ts'
import { RedisCache } from './cache.ts'
import { Commands } from './commands.ts'
import { type Counters, redisCounters } from './counters.ts'
import { RedisLeases } from './leases.ts'
import type { Told } from './trouble.ts'
import { parseAddress, shown } from './url.ts'

export interface RedisOptions {
  url: string
  /** A file with the password, in place of one in the URL; a newline at its end does not count. */
  passwordFile?: string | undefined
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
}

/** @throws Error, one sentence without secrets: the URL or the password file cannot be gone by. That Redis is away is none. */
export async function openRedis(options: RedisOptions): Promise<RedisCluster> {
  const { node, prefix = 'im:', tell } = options
  const address = parseAddress(options.url, options.passwordFile && (await passwordIn(options.passwordFile)))
  const commands = new Commands(address, `im-${asName(node)}`, tell)
  const bus = new RedisBus(address, prefix, tell)
  const leases = new RedisLeases(commands, prefix, node, options.lifeMs)
  await Promise.all([bus.open(), commands.open().then(() => leases.open())])
  return {
    node,
    address: shown(address),
    bus,
    leases,
    cache: new RedisCache(commands, prefix),
    counters: redisCounters(commands.client, prefix),
    async [Symbol.asyncDispose]() {
      await bus[Symbol.asyncDispose]()
      await leases[Symbol.asyncDispose]()
      commands.close()
    },
  }
}

/** What Redis takes as the name of a connection. */
const asName = (node: string) => node.replace(/[^\w.-]/g, '_')

async function passwordIn(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Error(`The file with the password of Redis cannot be read: ${error.code}.`)
  })
  const password = text.replace(/\r?\n$/, '')
  if (password === '') throw new Error('The file with the password of Redis is empty.')
  return password
}
