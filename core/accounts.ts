/** Accounts: registering, logging in and out, passwords. Profiles, keys and log-ins stand beside it in accounts/. */
import { Fault, isConflict } from '../protocol/faults.ts'
import { type AppId, UserId } from '../protocol/ids.ts'
import { Password } from '../protocol/operations/shapes.ts'
import type { Result } from '../protocol/operations.ts'
import { entrance } from './accounts/attempts.ts'
import { keys } from './accounts/keys.ts'
import { type Login, Logins } from './accounts/logins.ts'
import { type Operating, operating } from './accounts/operating.ts'
import { people } from './accounts/people.ts'
import { firstPassword, proof } from './accounts/proof.ts'
import { APPS, type AppRow } from './accounts/tables.ts'
import {
  type Change,
  type Clock,
  type Connections,
  type Passwords,
  put,
  type Random,
  type Records,
  type Throttle,
  type Tokens,
} from './ports.ts'
import type { Handlers } from './run.ts'

export interface AccountNeeds {
  records: Records
  clock: Clock
  random: Random
  passwords: Passwords
  tokens: Pick<Tokens, 'sign'>
  throttle: Throttle
  connections: Pick<Connections, 'tell' | 'end'>
  settings: {
    registration: 'open' | 'closed'
    accessTokenMs: number
    refreshTokenMs: number
    maxKeys: number
  }
}

type Operation =
  | ('register' | 'logIn' | 'refreshToken' | 'logOut' | 'changePassword')
  | ('getMe' | 'updateMe' | 'getUser' | 'findUsers')
  | ('createKey' | 'listKeys' | 'deleteKey')

export function accounts(needs: AccountNeeds) {
  const { records, clock } = needs
  const all = { people: people(needs), logins: new Logins(needs), keys: keys(needs), ...proof(needs) }
  const handlers: Pick<Handlers, Operation> = {
    ...entering(needs, all),
    ...leaving(needs, all),
    ...all.people.handlers,
    ...all.keys.handlers,
  }

  /** Makes the app, where there is none, and its first account, `owner`. False: that account exists. */
  async function ensureOwner(app: AppId, password: string): Promise<boolean> {
    const owner = UserId.parse('owner')
    if (await all.people.find(app, owner)) return false
    if (!Password.safeParse(password).success)
      throw new Fault('malformed', { issues: [{ path: ['password'], message: 'A password has 8 to 256 characters.' }] })
    const createdAt = clock.now()
    const made: Change[] = (await records.get(APPS, 'apps', app))
      ? []
      : [put(APPS, 'apps', app, { owner, createdAt } satisfies AppRow, 0)]
    const account = await newAccount(needs, all, app, owner, password)
    try {
      await records.write([...made, ...account])
      return true
    } catch (thrown) {
      if (isConflict(thrown)) return false
      throw thrown
    }
  }

  const operator: Operating = operating({
    ...needs,
    logins: all.logins,
    keys: all.keys.handlers,
    newAccount: ({ app, user }, password, name) => newAccount(needs, all, app, user, password, name),
    ensureOwner,
  })
  return {
    handlers,
    operator,
    ensureOwner,
    users: { exists: all.people.exists, profile: all.people.profile },
    /** What the gatekeeper asks. */
    credentials: {
      isLive: (login: Login) => all.logins.isLive(login),
      ownerOf: all.keys.ownerOf,
      stands: async (login: Login) => (await all.keys.stands(login)) ?? all.logins.stands(login),
    },
  }
}

type Parts = {
  people: ReturnType<typeof people>
  logins: Logins
} & ReturnType<typeof proof>

/** What gives tokens. */
function entering(needs: AccountNeeds, { people, logins, byPassword }: Parts) {
  const { records, clock, tokens, throttle, settings } = needs

  async function shown(login: Login & { refreshToken: string }): Promise<Result<'logIn'>> {
    const { app, user, grant, refreshToken } = login
    // Tokens count in seconds.
    const expiresAt = Math.floor((clock.now() + settings.accessTokenMs) / 1_000) * 1_000
    return {
      user: await people.profile(app, user),
      accessToken: tokens.sign({ app, user, grant, expiresAt }),
      refreshToken,
      expiresIn: Math.floor(settings.accessTokenMs / 1_000),
    }
  }

  const register: Handlers['register'] = async ({ address }, { app, user, password, name }) => {
    if (settings.registration === 'closed') throw new Fault('registration-closed')
    await throttle.take(entrance(address))
    if (!(await records.get(APPS, 'apps', app))) throw new Fault('not-allowed')
    // Looked up before the costly hash; the write below decides.
    if (await people.find(app, user)) throw new Fault('id-taken')
    const account = await newAccount(needs, { people }, app, user, password, name)
    try {
      return await shown(await logins.begin(app, user, account))
    } catch (thrown) {
      throw translated(thrown, 'id-taken')
    }
  }

  const logIn: Handlers['logIn'] = async ({ address }, { app, user, password }) => {
    const proven = await byPassword({ app, user, address }, password)
    try {
      return await shown(await logins.begin(app, user, [proven.still()]))
    } catch (thrown) {
      // The password was changed while it was being checked.
      throw translated(thrown, 'bad-credentials')
    }
  }

  const refreshToken: Handlers['refreshToken'] = async ({ address }, input) =>
    shown(await counted(throttle, address, () => logins.refresh(input.refreshToken)))

  return { register, logIn, refreshToken }
}

/** What ends them. */
function leaving({ clock, passwords, throttle }: AccountNeeds, { logins, byPassword }: Parts) {
  const logOut: Handlers['logOut'] = async ({ address }, { refreshToken }) => {
    await counted(throttle, address, () => logins.end(refreshToken))
    return undefined
  }

  const changePassword: Handlers['changePassword'] = async (caller, { password, newPassword }) => {
    const { app, user, grant } = caller
    const proven = await byPassword(caller, password)
    const next = proven.next(await passwords.hash(newPassword), clock.now())
    try {
      await logins.revokeAll(app, user, grant, [next])
    } catch (thrown) {
      throw translated(thrown, 'bad-credentials')
    }
    // A log-in with the old password may have begun between the look at the log-ins and the write; none can after it.
    await logins.revokeAll(app, user, grant, [])
  }

  return { logOut, changePassword }
}

/** A token that nobody was given counts against the network it comes from; it is no guess at an account. */
async function counted<T>(throttle: Throttle, address: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    if (Fault.from(thrown).code === 'bad-credentials') await throttle.take(entrance(address))
    throw thrown
  }
}

async function newAccount(
  { clock, passwords }: AccountNeeds,
  { people }: Pick<Parts, 'people'>,
  app: AppId,
  user: UserId,
  password: string,
  name: string = user,
): Promise<Change[]> {
  const hash = await passwords.hash(password)
  const createdAt = clock.now()
  return [...people.added(app, user, { name, createdAt }), firstPassword(app, user, hash, createdAt)]
}

/** A write that lost against another, in the words of the operation. */
function translated(thrown: unknown, code: 'id-taken' | 'bad-credentials'): Fault {
  const fault = Fault.from(thrown)
  return fault.code === 'conflict' ? new Fault(code, {}, { cause: fault }) : fault
}
