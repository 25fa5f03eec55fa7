/** What `im doctor` looks at outside of the database: the data directory, the clock and the ports. */
import { type Stats, statSync } from 'node:fs'
import { access, constants, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import type { Config } from '../config.ts'
import { type Check, type Tell, telling } from './checks.ts'

const MIB = 1024 * 1024
/** Before this was written. */
const WRITTEN_AT = Date.UTC(2026, 0, 1)
const YEARS_MS = 20 * 365 * 86_400_000
/** Clocks that differ by less are as good as equal. */
const SLACK_MS = 60_000

/** Whether there is a directory that can be looked into. */
export async function checkDirectory(config: Config, checks: Check[]): Promise<boolean> {
  const directory = resolve(config.dataDirectory)
  const tell = telling('directory', checks)
  const found = statSync(directory, { throwIfNoEntry: false })
  if (!found) {
    tell('ok', `${directory} does not exist yet: the first start makes it`)
    await checkRoom(config, dirname(directory), checks)
    return false
  }
  if (!found.isDirectory()) {
    tell('problem', `${directory} is not a directory`, 'Set IM_DATA_DIR to the directory of the data.')
    return false
  }
  const before = checks.length
  checkOwner(directory, found, tell)
  const may = await access(directory, constants.R_OK | constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  )
  if (!may) tell('problem', `${directory} cannot be written by this user`, 'Run as the user that runs the server.')
  await checkRoom(config, directory, checks)
  if (checks.length === before) tell('ok', `${directory} is there, is this user's alone, and has room`)
  return may
}

function checkOwner(directory: string, found: Stats, tell: Tell): void {
  const user = process.getuid?.()
  if (user !== undefined && user !== found.uid)
    tell(
      'warning',
      `${directory} belongs to user ${found.uid}, not to the one who asks (${user})`,
      'Run the server, and this, as its owner.',
    )
  for (const file of [directory, join(directory, 'owner-password')]) {
    const mode = statSync(file, { throwIfNoEntry: false })?.mode ?? 0
    if ((mode & 0o077) !== 0) tell('warning', `${file} can be read by others`, `chmod go= '${file}'`)
  }
}

async function checkRoom(config: Config, directory: string, checks: Check[]): Promise<void> {
  const room = await statfs(directory).catch(() => undefined)
  if (!room) return
  const free = Math.floor((room.bavail * room.bsize) / MIB)
  const mark = config.diskLowWaterMiB
  if (free >= 2 * mark) return
  checks.push({
    check: 'directory',
    level: free <= mark ? 'problem' : 'warning',
    says: `the disk has ${free} MiB left, and at ${mark} MiB (IM_DISK_LOW_WATER_MB) nothing more is accepted`,
    todo: 'Make room on the disk of the data directory, or move the directory to a larger one.',
  })
}

/** `newest`: time of the newest entry, in epoch milliseconds; 0 if unknown. */
export function checkClock(now: number, newest: number, checks: Check[]): void {
  const time = new Date(now).toISOString()
  if (now < WRITTEN_AT || now > WRITTEN_AT + YEARS_MS)
    checks.push({
      check: 'clock',
      level: 'problem',
      says: `it says ${time}`,
      todo: 'Set the clock, and keep it by NTP.',
    })
  else if (now < newest - SLACK_MS)
    checks.push({
      check: 'clock',
      level: 'warning',
      says: `it says ${time}, and the newest entry is of ${new Date(newest).toISOString()}`,
      todo: 'Set the clock, and keep it by NTP. Until it has caught up, new entries carry the time of the newest one.',
    })
  else checks.push({ check: 'clock', level: 'ok', says: `it says ${time}` })
}

export async function checkPorts(config: Config, running: boolean | 'perhaps', checks: Check[]): Promise<void> {
  const ports: [setting: string, port: number][] = [
    ['IM_HTTP_PORT', config.httpPort],
    ['IM_MQTT_PORT', config.mqttPort],
  ]
  if (config.tlsCertificate !== undefined) ports.push(['IM_MQTTS_PORT', config.mqttsPort])
  for (const [setting, port] of ports) {
    const failure = await tried(port, config.bind)
    const at = `port ${port} on ${config.bind} (${setting})`
    if (failure === undefined)
      checks.push({ check: 'ports', level: 'ok', says: `${at} ${port === 0 ? 'is picked at the start' : 'is free'}` })
    else if (failure === 'EADDRINUSE' && running === 'perhaps')
      checks.push({
        check: 'ports',
        level: 'warning',
        says: `${at} is taken: by the server, if it runs here`,
        todo: `If it does not, end the other program, or set ${setting}.`,
      })
    else if (failure === 'EADDRINUSE' && running)
      checks.push({ check: 'ports', level: 'ok', says: `${at} is taken, as it is by the server that runs` })
    else
      checks.push({
        check: 'ports',
        level: 'problem',
        says: `${at} cannot be listened on: ${failure === 'EADDRINUSE' ? 'another program has it' : failure}`,
        todo: `End the other program, or set ${failure === 'EADDRINUSE' ? setting : `${setting} or IM_BIND`} to what this machine can listen on.`,
      })
  }
}

/** Why nobody can listen there. */
function tried(port: number, host: string): Promise<string | undefined> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', ({ code, message }: NodeJS.ErrnoException) => resolve(code ?? message))
    server.listen({ port, host }, () => server.close(() => resolve(undefined)))
  })
}
