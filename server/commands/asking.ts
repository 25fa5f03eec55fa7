/** Asks the running server, or does itself what it would do where none runs; in a cluster, always itself. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { wordOfEnd } from '../../broker/broker.ts'
import { accounts } from '../../core/accounts.ts'
import type { Storage } from '../../core/ports.ts'
import { openStorage, sayOnBus, type Word } from '../../storage/open.ts'
import { type Config, readConfig } from '../config.ts'
import { askServer } from '../control.ts'
import { keyspace, redisAccess } from '../keyspace.ts'
import * as machine from '../machine.ts'
import { type Asked, type Given, perform, type Wish } from '../operator.ts'
import { passwords } from '../passwords.ts'
import { noThrottle } from '../throttle.ts'
import { CannotDo } from './trouble.ts'

export type Ask = <W extends Wish>(wish: W, asked: Asked<W>) => Promise<Given<W>>

/** @throws Fault · CannotOpen · CannotDo */
export async function asking(use: (ask: Ask) => Promise<void>): Promise<void> {
  const config = readConfig()
  if (config.storage === 'memory') throw new CannotDo(`IM_STORAGE=${config.storage} keeps nothing on this disk.`)
  const directory = resolve(config.dataDirectory)
  const isCluster = config.storage === 'cassandra'
  let storage: Storage | undefined
  try {
    await use(async (wish, asked) => {
      const answer = storage || isCluster ? undefined : await askServer(directory, wish, asked)
      if (answer) return answer.given as never
      storage ??= isCluster
        ? await openStorage({ engine: 'cassandra', ...keyspace(config), existing: true })
        : await opened(directory, config)
      const words: Word[] = []
      const given = await perform(operatorOf(storage, words), wish, asked)
      if (isCluster) await say(config, words)
      return given as never
    })
  } finally {
    await storage?.[Symbol.asyncDispose]()
  }
}

function opened(directory: string, { fsync, diskLowWaterMiB }: Config): Promise<Storage> {
  if (!existsSync(join(directory, 'level'))) throw new CannotDo(`The data directory ${directory} holds no database.`)
  const lowWaterBytes = diskLowWaterMiB * 1024 * 1024
  return openStorage({ engine: 'level', directory, fsync, lowWaterBytes, clock: machine.scheduler })
}

/** Servers end connections. @throws CannotDo: they could not be told */
async function say(config: Config, words: readonly Word[]): Promise<void> {
  const access = redisAccess(config)
  if (words.length === 0 || !access) return
  await sayOnBus(access, words).catch((cause: Error) => {
    throw new CannotDo(
      `It is done, but servers could not be told to end connections, which go on until their tokens run out, and those of keys until servers start anew: ${cause.message}`,
    )
  })
}

/** Nobody is connected here, and nobody logs in: `words` is what servers are to be told. */
function operatorOf({ records }: Storage, words: Word[]) {
  const { operator } = accounts({
    records,
    clock: machine.scheduler,
    random: machine.random,
    passwords: passwords(),
    tokens: { sign: () => '' },
    throttle: noThrottle,
    connections: { tell() {}, end: (...ended) => words.push(wordOfEnd(...ended)) },
    settings: { registration: 'closed', accessTokenMs: 0, refreshTokenMs: 0, maxKeys: 0 },
  })
  return operator
}
