/** Names the caller behind a token or key. The account's password opens nothing here. */
import { Fault } from '../protocol/faults.ts'
import { AppId, DeviceId, type EpochMs, type Member, UserId } from '../protocol/ids.ts'
import { entrance } from './accounts/attempts.ts'
import type { Device, User } from './caller.ts'
import type { Gatekeeper, Records, Throttle, Tokens } from './ports.ts'
import { isSecret, PREFIX, sha256 } from './secrets.ts'
import { DEVICE_KEYS } from './tables.ts'

export interface GatekeeperNeeds {
  records: Pick<Records, 'get' | 'scan'>
  tokens: Pick<Tokens, 'verify'>
  throttle: Pick<Throttle, 'take'>
  /** Of the accounts. */
  credentials: {
    isLive(login: { app: AppId; user: UserId; grant: string }): Promise<boolean>
    stands(grant: { app: AppId; user: UserId; grant: string }): Promise<boolean>
    ownerOf(key: string): Promise<{ app: AppId; user: UserId; grant: string } | undefined>
  }
}

const DEFAULT_APP = AppId.parse('im')
const MAX_SECRET_LENGTH = 4_096

export function gatekeeper({ records, tokens, throttle, credentials }: GatekeeperNeeds): Gatekeeper {
  async function asUser(secret: string, address: string): Promise<User> {
    if (secret.startsWith(PREFIX.key)) {
      const owner = await credentials.ownerOf(secret)
      if (!owner) throw new Fault('bad-credentials')
      return userOf(owner, address)
    }
    const claims = await tokens.verify(secret)
    if (!(await credentials.isLive(claims))) throw new Fault('token-revoked')
    return userOf(claims, address)
  }

  async function asDevice(app: AppId, device: DeviceId, secret: string, address: string): Promise<Device> {
    const found = await records.get(DEVICE_KEYS, app, device)
    if (!found || !isSecret(found.row.hash, secret)) throw new Fault('bad-credentials')
    return deviceOf(app, device, address)
  }

  async function asOwnerOfKey(secret: string, address: string): Promise<Device> {
    const [found] = await records.scan(DEVICE_KEYS, sha256(secret), { index: 'byHash', limit: 1 })
    if (!found || !isSecret(found.row.hash, secret)) throw new Fault('bad-credentials')
    return deviceOf(found.partition as AppId, found.key as DeviceId, address)
  }

  /** Secrets that nobody was given count against the network; one that has ended was genuine, and does not. */
  async function counted<T>(address: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (thrown) {
      if (Fault.from(thrown).code === 'bad-credentials') await throttle.take(entrance(address))
      throw thrown
    }
  }

  return {
    connect: (username, password, address) =>
      counted(address, async () => {
        const named = takeName(username)
        if (!named || password.length > MAX_SECRET_LENGTH) throw new Fault('bad-credentials')
        if ('device' in named) return await asDevice(named.app, named.device, password, address)
        const caller = await asUser(password, address)
        if (caller.app !== named.app || caller.user !== named.user) throw new Fault('bad-credentials')
        return caller
      }),

    bearer: (token, address) =>
      counted(address, async () => {
        if (token.length > MAX_SECRET_LENGTH) throw new Fault('bad-credentials')
        return token.startsWith(PREFIX.device) ? await asOwnerOfKey(token, address) : await asUser(token, address)
      }),

    stands: async caller =>
      caller.kind === 'user'
        ? credentials.stands(caller)
        : (await records.get(DEVICE_KEYS, caller.app, caller.device)) !== undefined,
  }
}

interface Owner {
  app: AppId
  user: UserId
  grant: string
  expiresAt?: EpochMs
}
const userOf = ({ app, user, grant, expiresAt }: Owner, address: string): User => ({
  kind: 'user',
  app,
  user,
  member: user,
  grant,
  address,
  ...(expiresAt !== undefined && { expiresAt }),
})
const deviceOf = (app: AppId, device: DeviceId, address: string): Device => ({
  kind: 'device',
  app,
  device,
  member: `d:${device}` satisfies Member,
  grant: `device:${device}`,
  address,
})

/** `{user}`, `{app}/{user}` or `{app}/d/{device}`. */
function takeName(username: string): { app: AppId; user: UserId } | { app: AppId; device: DeviceId } | undefined {
  const levels = username.split('/', 4)
  const app = levels.length === 1 ? DEFAULT_APP : AppId.safeParse(levels[0]).data
  if (!app) return undefined
  if (levels.length === 3) {
    const device = levels[1] === 'd' ? DeviceId.safeParse(levels[2]).data : undefined
    return device && { app, device }
  }
  const user = levels.length < 3 ? UserId.safeParse(levels.at(-1)).data : undefined
  return user && { app, user }
}
