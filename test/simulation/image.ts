/** What every run begins with: four people and a group, made once by the server itself. */
import type { Caller, User } from '../../core/caller.ts'
import type { Core } from '../../core/features.ts'
import type { AppId, UserId } from '../../protocol/ids.ts'
import { Chance } from '../support/proof.ts'
import { Disk } from './disk.ts'
import { start } from './server.ts'
import { virtualTimers } from './timers.ts'
import { Life, Turns } from './turns.ts'

export const PEOPLE = ['alice', 'bob', 'carol', 'dave'] as const
export type Person = (typeof PEOPLE)[number]
export const GROUP = 'ops'
/** Alice owns the group; dave is not in it yet. */
const MEMBERS: readonly Person[] = ['bob', 'carol']

export interface Image {
  batches: Disk['image']
  /** Access tokens. */
  passwords: Record<Person, string>
}

export const callerOf = (user: Person): User => ({
  kind: 'user',
  app: 'im' as AppId,
  user: user as UserId,
  member: user as UserId,
  grant: 'rest',
  address: '127.0.0.1',
})

export async function image(): Promise<Image> {
  const chance = new Chance(1)
  const turns = new Turns(chance)
  const life = new Life(turns)
  const disk = new Disk(chance)
  const restore = virtualTimers(() => life)
  try {
    let over = false
    const making = make(disk, life, chance).finally(() => {
      over = true
    })
    making.catch(() => {})
    while (!over) await turns.step()
    return { batches: disk.image, passwords: await making }
  } finally {
    turns.end(life)
    restore()
  }
}

async function make(disk: Disk, life: Life, chance: Chance): Promise<Image['passwords']> {
  const failed = (where: string, error: unknown) => {
    throw new Error(where, { cause: error })
  }
  const { core } = await start({ disk, life, chance, options: { windowMessages: 10, windowBytes: 65_536 }, failed })
  await core.accounts.ensureOwner('im' as AppId, 'correct horse')
  const passwords = Object.fromEntries(
    await Promise.all(PEOPLE.map(async user => [user, await register(core, user)] as const)),
  ) as Record<Person, string>
  await core.run('createGroup', callerOf('alice'), { group: GROUP, name: 'Operations', members: MEMBERS })
  return passwords
}

async function register(core: Core, user: Person): Promise<string> {
  const nobody: Caller = { kind: 'nobody', address: '127.0.0.1' }
  const { accessToken } = (await core.run('register', nobody, { user, password: 'correct horse' })) as {
    accessToken: string
  }
  return accessToken
}
