/** The tables that several parts of accounts read. */
import type { EpochMs, UserId } from '../../protocol/ids.ts'
import { table } from '../ports.ts'

/** Partition: `apps`; key: app. */
export interface AppRow {
  owner: UserId
  createdAt: EpochMs
}
export const APPS = table<AppRow>('apps')

/** Stays when the account is gone, so that its id is not given again. Partition: app; key: user. */
export interface UserRow {
  name: string
  avatar?: string
  about?: string
  createdAt: EpochMs
}
export const USERS = table<UserRow>(
  'users',
  { byApp: (_, { partition, key }) => ({ partition, sort: key }) },
  { spread: true },
)

/** Apart from the profile, so that nothing that shows one can show this. Partition: app; key: user. */
export interface PasswordRow {
  /** argon2id. */
  hash: string
  changedAt: EpochMs
}
export const PASSWORDS = table<PasswordRow>('passwords', undefined, { spread: true })
