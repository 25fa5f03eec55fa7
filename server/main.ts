/** The process: settings in, one line out when it is ready, and a clean end. */
import { CannotOpen, Damaged } from '../storage/open.ts'
import { type Config, ConfigError, readConfig } from './config.ts'
import { CannotListen } from './listeners.ts'
import { createServer, type Server } from './server.ts'
import { tidyWhenQuiet } from './tidy.ts'

/** The end takes no longer than this. */
const STOP_MS = 10_000

function say(...lines: readonly string[]): void {
  for (const line of lines) process.stderr.write(`${line}\n`)
}

function settings(): Config {
  try {
    return readConfig()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    say(...error.problems)
    process.exit(1)
  }
}

async function start(): Promise<Server> {
  try {
    return await createServer(settings())
  } catch (error) {
    // What an operator can mend is one sentence; anything else is a mistake of ours, with its stack.
    if (error instanceof CannotListen || error instanceof CannotOpen) say(error.message)
    else say(error instanceof Error ? (error.stack ?? error.message) : String(error))
    if (error instanceof Damaged) say('Run `npm run im -- doctor`: it tells all that is damaged, and what to do.')
    process.exit(1)
  }
}

const server = await start()
const { log } = server.telemetry
tidyWhenQuiet()

for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, err => {
    log.fatal({ err }, 'a mistake nobody caught: the process ends')
    process.exit(1)
  })
}

let stopping = false
async function stop(signal: string): Promise<void> {
  if (stopping) process.exit(1)
  stopping = true
  log.info({ signal }, 'stopping')
  setTimeout(() => {
    log.error('stopping took too long')
    process.exit(1)
  }, STOP_MS).unref()
  await server[Symbol.asyncDispose]()
  process.exit(0)
}
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void stop(signal))

process.stdout.write(`${JSON.stringify({ event: 'ready', ...server.ports })}\n`)
