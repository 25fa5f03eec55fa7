/** The first account. No default password exists: one is given by a setting, or made up and written to a file once. */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Core } from '../core/features.ts'
import { AppId } from '../protocol/ids.ts'
import type { Config } from './config.ts'

const FILE = 'owner-password'

export async function ensureOwner({ accounts }: Pick<Core, 'accounts'>, config: Config, log: Logger): Promise<void> {
  const app = AppId.parse('im')
  if (config.ownerPassword !== undefined) {
    await accounts.ensureOwner(app, config.ownerPassword)
    return
  }
  const path = join(config.dataDirectory, FILE)
  // Written before the account is made: a crash in between loses nothing.
  const made = existsSync(path) ? undefined : randomBytes(18).toString('base64url')
  const password = made ?? readFileSync(path, 'utf8').trim()
  const isKept = made !== undefined && !(await accounts.hasOwner(app))
  if (isKept) await keep(config.dataDirectory, made)
  if (await accounts.ensureOwner(app, password))
    log.warn({ path }, 'the account owner was made; its password is in this file')
  // Another server made it meanwhile, with a password of its own.
  else if (isKept) await rm(path)
}

/** Whole or not at all, for the owner alone to read. */
async function keep(directory: string, password: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, FILE)
  await rm(`${path}.new`, { force: true })
  const file = await open(`${path}.new`, 'wx', 0o600)
  await file.writeFile(`${password}\n`)
  await file.sync()
  await file.close()
  await rename(`${path}.new`, path)
  const folder = await open(directory, 'r')
  await folder.sync()
  await folder.close()
}
