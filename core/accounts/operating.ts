/** Accounts and apps as who runs the server has them in hand: nobody's password is asked for, and nothing is throttled. */
import { Fault } from '../../protocol/faults.ts'
import type { AppId, EpochMs, UserId } from '../../protocol/ids.ts'
import type { Result } from '../../protocol/operations.ts'
import type { User } from '../caller.ts'
import {
  type Change,
  type Clock,
  type Connections,
  type Passwords,
  put,
  type Records,
  type ScanRange,
} from '../ports.ts'
import type { keys } from './keys.ts'
import type { Logins } from './logins.ts'
import { APPS, PASSWORDS, USERS } from './tables.ts'

export interface Account {
  app: AppId
  user: UserId
}
export interface Page<Item> {
  items: Item[]
  /** Absent at the end. */
  next?: string
}
export interface Operating {
  listApps(asked: { after?: string | undefined }): Promise<Page<{ app: string; owner: UserId; createdAt: EpochMs }>>
  /** Makes an app with its first account, `owner`. @throws Fault `id-taken` */
  createApp(asked: { app: AppId; password: string }): Promise<void>
  listUsers(asked: {
    app: AppId
    after?: string | undefined
  }): Promise<Page<{ user: string; name: string; createdAt: EpochMs }>>
  /** Also where registration is closed. @throws Fault `id-taken` · `not-allowed`: there is no such app */
  createUser(asked: Account & { password: string; name?: string | undefined }): Promise<void>
  /** Ends all log-ins too. @throws Fault `no-such-user` */
  setPassword(asked: Account & { password: string }): Promise<void>
  /** Ends all log-ins, and with `keys` all keys and so all connections. @throws Fault `no-such-user` */
  logOut(asked: Account & { keys: boolean }): Promise<{ logins: number; keys: number }>
  /** @throws Fault `no-such-user` */
  listKeys(asked: Account): Promise<Result<'listKeys'>>
  /** @throws Fault `no-such-key` */
  deleteKey(asked: Account & { id: string }): Promise<void>
}

interface Needs {
  records: Records
  clock: Clock
  passwords: Passwords
  connections: Pick<Connections, 'end'>
  logins: Logins
  keys: ReturnType<typeof keys>['handlers']
  newAccount(account: Account, password: string, name?: string): Promise<Change[]>
  ensureOwner(app: AppId, password: string): Promise<boolean>
}

const PAGE = 500

export function operating(needs: Needs): Operating {
  const { records, ensureOwner } = needs
  return {
    async listApps({ after }) {
      const page = await records.scan(APPS, 'apps', range(after))
      return paged(page, ({ key, row }) => ({ app: key, ...row }))
    },
    async createApp({ app, password }) {
      if (!(await ensureOwner(app, password))) throw new Fault('id-taken')
    },
    async listUsers({ app, after }) {
      const page = await records.scan(USERS, app, { index: 'byApp', ...range(after) })
      return paged(page, ({ key, row: { name, createdAt } }) => ({ user: key, name, createdAt }))
    },
    ...passwordsOf(needs),
    ...grantsOf(needs),
  }
}

function passwordsOf(needs: Needs): Pick<Operating, 'createUser' | 'setPassword'> {
  const { records, clock, passwords, logins, newAccount } = needs
  return {
    async createUser({ app, user, password, name }) {
      if (!(await records.get(APPS, 'apps', app))) throw new Fault('not-allowed')
      try {
        await records.write(await newAccount({ app, user }, password, name))
      } catch (thrown) {
        const fault = Fault.from(thrown)
        throw fault.code === 'conflict' ? new Fault('id-taken', {}, { cause: fault }) : fault
      }
    },
    async setPassword({ app, user, password }) {
      await expect(needs, { app, user })
      const row = { hash: await passwords.hash(password), changedAt: clock.now() }
      await logins.revokeAll(app, user, '', [put(PASSWORDS, app, user, row)])
      // A log-in with the old password may have begun between the look at the log-ins and the write; none can after it.
      await logins.revokeAll(app, user, '', [])
    },
  }
}

function grantsOf(needs: Needs): Pick<Operating, 'logOut' | 'listKeys' | 'deleteKey'> {
  const { logins, keys, connections } = needs
  return {
    async logOut({ app, user, keys: also }) {
      await expect(needs, { app, user })
      const ended = await logins.revokeAll(app, user, '', [])
      if (!also) return { logins: ended, keys: 0 }
      const { items } = await keys.listKeys(as(app, user), {})
      for (const { id } of items) await keys.deleteKey(as(app, user), { id })
      connections.end(app, user, 'token-revoked')
      return { logins: ended, keys: items.length }
    },
    async listKeys({ app, user }) {
      await expect(needs, { app, user })
      return keys.listKeys(as(app, user), {})
    },
    async deleteKey({ app, user, id }) {
      await keys.deleteKey(as(app, user), { id })
    },
  }
}

const as = (app: AppId, user: UserId): User => ({ kind: 'user', app, user, member: user, grant: '', address: '' })

async function expect({ records }: Needs, { app, user }: Account): Promise<void> {
  if (!(await records.get(USERS, app, user))) throw new Fault('no-such-user')
}

const range = (after: string | undefined): ScanRange => ({ limit: PAGE, ...(after !== undefined && { after }) })
function paged<Row extends { cursor: string }, Item>(rows: Row[], shown: (row: Row) => Item): Page<Item> {
  const next = rows.length === PAGE ? rows.at(-1)?.cursor : undefined
  return { items: rows.map(shown), ...(next !== undefined && { next }) }
}
