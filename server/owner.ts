/** The first account. No default password exists: one is given by a setting, or made up and written to a file once. */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, open } from 'node:fs/promises'
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
  if (made !== undefined && !(await accounts.hasOwner(app))) {
    await mkdir(config.dataDirectory, { recursive: true, mode: 0o700 })
    const file = await open(path, 'wx', 0o600)
    await file.writeFile(`${made}\n`)
    await file.sync()
    await file.close()
  }
  if (await accounts.ensureOwner(app, password))
    log.warn({ path }, 'the account owner was made; its password is in this file')
}
