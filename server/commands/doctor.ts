/** `im doctor`: looks at everything that a server needs, one line for each check, and says what to do. Changes nothing. */
import { type Config, ConfigError, readable, readConfig } from '../config.ts'
import { CannotListen, certificate } from '../listeners.ts'
import type { Check } from './checks.ts'
import { checkCluster } from './cluster-checks.ts'
import { checkDatabase } from './database-check.ts'
import { checkClock, checkDirectory, checkPorts } from './machine-checks.ts'

export interface Report {
  ok: boolean
  checks: Check[]
}

/** Resolves to the exit code. */
export async function doctor({ json }: { json: boolean }): Promise<number> {
  const report = await examine()
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : report.checks.map(line).join(''))
  return report.ok ? 0 : 1
}

const line = ({ check, level, says, todo }: Check) =>
  `${level.padEnd(8)} ${check}: ${says}\n${todo === undefined ? '' : `${' '.repeat(9)}→ ${todo}\n`}`

export async function examine(environment?: Parameters<typeof readConfig>[0]): Promise<Report> {
  const checks: Check[] = []
  const config = settings(environment, checks)
  if (config.storage === 'memory')
    checks.push({ check: 'database', level: 'skipped', says: 'IM_STORAGE=memory keeps everything in memory' })
  const onDisk = config.storage === 'level' && (await checkDirectory(config, checks))
  const database = onDisk ? await checkDatabase(config.dataDirectory, checks) : undefined
  if (config.storage === 'cassandra') await checkCluster(config, checks)
  checkClock(Date.now(), database?.newest ?? 0, checks)
  await checkPorts(config, config.storage === 'cassandra' ? 'perhaps' : (database?.inUse ?? false), checks)
  return { ok: checks.every(({ level }) => level !== 'problem'), checks }
}

/** Where some are wrong, the others are gone by. */
function settings(environment: Parameters<typeof readConfig>[0], checks: Check[]): Config {
  try {
    const config = readConfig(environment)
    certificate(config)
    checks.push({ check: 'settings', level: 'ok', says: 'every IM_ variable is known and has a value that it takes' })
    return config
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof CannotListen)) throw error
    for (const says of error instanceof ConfigError ? error.problems : [error.message])
      checks.push({ check: 'settings', level: 'problem', says, todo: 'Correct the variable, or unset it.' })
    return readConfig(readable(environment))
  }
}
