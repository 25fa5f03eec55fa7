/** Which users exist; those once found are remembered, for an account is never another's again. */
import { Fault } from '../protocol/faults.ts'
import type { AppId, UserId } from '../protocol/ids.ts'
import { Lru } from './lru.ts'

const MAX_KNOWN = 100_000

/** Those of the users that have no account. */
export type Missing = (app: AppId, users: readonly UserId[]) => Promise<UserId[]>
/** Refuses users that do not exist; at once where all of them are known. @throws Fault `no-such-user`, naming them. */
export type Expect = (app: AppId, users: readonly UserId[]) => Promise<void> | undefined

export function expecting(missing: Missing): Expect {
  const known = new Lru<true>(MAX_KNOWN)

  async function look(app: AppId, users: readonly UserId[]): Promise<void> {
    const absent = new Set(await missing(app, users))
    for (const user of users) if (!absent.has(user)) known.set(`${app}/${user}`, true)
    if (absent.size > 0) throw new Fault('no-such-user', { users: [...absent].slice(0, 100) })
  }

  return (app, users) => {
    const unknown = users.filter(user => !known.get(`${app}/${user}`))
    return unknown.length > 0 ? look(app, unknown) : undefined
  }
}
