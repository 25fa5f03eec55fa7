/**
 * People, groups and messages made before the server starts, through the rules and the storage themselves: over REST each
 * account would cost a password hash. People log in with personal keys, so nobody here has a password that works.
 */
import { randomBytes } from 'node:crypto'
import type { User } from '../../core/caller.ts'
import { createCore } from '../../core/features.ts'
import { keyOf, type Passwords, type Storage, type Throttle, type Tokens } from '../../core/ports.ts'
import { AppId, between, UserId } from '../../protocol/ids.ts'
import { openStorage, type StorageOptions } from '../../storage/open.ts'
import { textOf } from '../load/numbered.ts'
import { each } from '../machine.ts'
import { type Options, range, type Scene } from './target.ts'

const APP = AppId.parse('im')
/** Kept as a hash that fits no password. */
const NO_PASSWORD = 'nobody logs in with it'
/** Writes that share a group commit. */
const WIDTH = 256
/** Of what is more than a write each: groups, and everything in a Cassandra that has just started. */
const NARROW = 8

/** All names are of one length, so that all payloads of a run are. */
export const personName = (person: number): string => `u${String(person).padStart(5, '0')}`
export const groupName = (group: number): string => `g${group}`

const callerOf = (person: number): User => {
  const user = UserId.parse(personName(person))
  return { kind: 'user', app: APP, user, member: user, grant: 'bench', address: '127.0.0.1' }
}

/** An empty data directory. */
export const directoryStorage = (directory: string): StorageOptions => ({
  engine: 'level',
  directory,
  // What is lost when the machine fails now is made anew.
  fsync: false,
  lowWaterBytes: 0,
  clock: Date,
})

/** Fills an empty storage; the personal key of every person. */
export async function seed(
  into: StorageOptions,
  scene: Scene,
  options: Pick<Options, 'ids' | 'textBytes'>,
): Promise<string[]> {
  await using storage = await openStorage(into)
  await using core = await coreOver(storage)
  await core.accounts.ensureOwner(APP, NO_PASSWORD)
  const keys: string[] = []
  const width = into.engine === 'cassandra' ? NARROW : WIDTH
  await each(range(scene.people), width, async person => {
    await core.run('register', { kind: 'nobody', address: '127.0.0.1' }, account(person))
    keys[person] = (await core.run('createKey', callerOf(person), { name: 'bench' })).key
  })
  await each(scene.groups ?? [], NARROW, async ([owner = 0, ...others], g) => {
    const members = others.length > 0 && { members: others.map(personName) }
    await core.run('createGroup', callerOf(owner), { group: groupName(g), name: groupName(g), ...members })
  })
  await store(storage, core, scene, options)
  return keys
}

const account = (person: number) => ({ user: personName(person), password: NO_PASSWORD })

/** The first message of a pair goes through the rules and makes the conversation; the others straight into its log. */
async function store(
  { log }: Storage,
  { run }: Awaited<ReturnType<typeof coreOver>>,
  { stored }: Scene,
  { ids, textBytes }: Pick<Options, 'ids' | 'textBytes'>,
): Promise<void> {
  if (!stored) return
  const perPair = Math.floor(stored.messages / stored.pairs)
  await each(range(stored.pairs), WIDTH, async pair => {
    const from = callerOf(2 * pair).user
    const text = textOf(2 * pair, textBytes)
    const to = callerOf(2 * pair + 1).user
    await run('sendMessageToUser', callerOf(2 * pair), { user: to, text })
    const key = keyOf(APP, between(from, to))
    for (let i = 1; i < perPair; i += WIDTH) {
      const numbers = range(Math.min(WIDTH, perPair - i), i)
      await Promise.all(
        numbers.map(number => {
          const body = { type: 'text', text, ...(ids && { clientMessageId: `stored-${number}` }) }
          return log.append(key, { kind: 'message', from, body })
        }),
      )
    }
  })
}

function coreOver({ log, records }: Storage) {
  const passwords: Passwords = { hash: async () => '*', verify: async () => false }
  const tokens: Tokens = {
    sign: () => '*',
    verify: () => {
      throw new Error('no token is ever shown here')
    },
  }
  const throttle: Throttle = { take: async () => {}, giveBack: async () => {}, forget: async () => {} }
  return createCore({
    log,
    records,
    scheduler: { now: Date.now, after: () => () => {}, soon: setImmediate },
    random: { bytes: randomBytes },
    passwords,
    tokens,
    throttle,
    connections: { tell() {}, retained() {}, end() {} },
    observer: { ran() {} },
    settings: {
      registration: 'open',
      recallWindowMs: 0,
      accessTokenMs: 3_600_000,
      refreshTokenMs: 3_600_000,
      maxKeys: 1,
    },
  })
}
