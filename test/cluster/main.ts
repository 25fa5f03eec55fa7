/** `npm run cluster`: a cluster on this machine, until Ctrl-C. Options: --nodes 3 --cassandra 3 --dir DIR --no-nginx. */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Ending } from '../support/ends.ts'
import { LocalCluster } from './cluster.ts'
import { missing } from './needs.ts'

const USAGE = 'npm run cluster -- [--nodes 1…9] [--cassandra 1…3] [--dir DIRECTORY] [--no-nginx]'

interface Wanted {
  nodes: number
  cassandra: 1 | 2 | 3
  nginx: boolean
  directory?: string
}

function fail(...lines: string[]): never {
  for (const text of lines) process.stderr.write(`${text}\n`)
  process.exit(1)
}

function wanted(): Wanted {
  try {
    const { values } = parseArgs({
      options: {
        nodes: { type: 'string', default: '2' },
        cassandra: { type: 'string', default: '1' },
        dir: { type: 'string' },
        'no-nginx': { type: 'boolean', default: false },
      },
    })
    if (!/^[1-9]$/.test(values.nodes)) fail(`--nodes takes 1 to 9, not ${values.nodes}.`, USAGE)
    if (!/^[1-3]$/.test(values.cassandra)) fail(`--cassandra takes 1, 2 or 3, not ${values.cassandra}.`, USAGE)
    return {
      nodes: Number(values.nodes),
      cassandra: Number(values.cassandra) as Wanted['cassandra'],
      nginx: !values['no-nginx'],
      ...(values.dir !== undefined && { directory: resolve(values.dir) }),
    }
  } catch (error) {
    return fail((error as Error).message, USAGE)
  }
}

/** Where everything is, and a conversation to try it with. */
function addresses({ servers, redis, cassandra, nginx, ownerPasswordFile, directory }: LocalCluster): string {
  const [one] = servers
  const door = nginx?.ports ?? one?.ports ?? { mqtt: 0, http: 0 }
  const other = nginx?.ports ?? servers.at(-1)?.ports ?? door
  const http = `http://127.0.0.1:${door.http}`
  const json = `node -p "JSON.parse(require('fs').readFileSync(0, 'utf8'))`
  return [
    '',
    ...(nginx ? [`nginx      mqtt://127.0.0.1:${door.mqtt}  ${http}  ws://127.0.0.1:${door.http}/mqtt`] : []),
    ...servers.map(({ ports, pid }, i) =>
      nginx
        ? `n${i + 1}         http://127.0.0.1:${ports.http}  ws://127.0.0.1:${ports.http}/mqtt  (pid ${pid})`
        : `n${i + 1}         mqtt://127.0.0.1:${ports.mqtt}  http://127.0.0.1:${ports.http}  (pid ${pid})`,
    ),
    `redis      ${redis.url}`,
    ...cassandra.numbers.map(
      i => `cassandra${i} ${cassandra.hosts[i - 1]}  (pid ${cassandra.pid(i)}, log ${cassandra.log(i)})`,
    ),
    `data       ${directory}`,
    '',
    'To try it, in another terminal:',
    '',
    `  token=$(curl -s ${http}/v1/login --json "{\\"user\\":\\"owner\\",\\"password\\":\\"$(cat ${ownerPasswordFile})\\"}" | ${json}.accessToken")`,
    `  key=$(curl -s ${http}/v1/me/keys -H "Authorization: Bearer $token" --json '{"name":"trial"}' | ${json}.key")`,
    `  mosquitto_sub -V 5 -p ${door.mqtt} -u owner -P "$key" -q 1 -t im/u/owner/inbox &`,
    `  mosquitto_pub -V 5 -p ${other.mqtt} -u owner -P "$key" -q 1 -t im/u/owner/send -m 'from one server to the other'`,
    `  curl -s ${http}/v1/conversations -H "Authorization: Bearer $token"`,
    '',
    'Ctrl-C ends it.',
    '',
  ].join('\n')
}

const options = wanted()
const absent = missing(options)
if (absent.length > 0) fail(...absent)

const ending = new Ending()
const interrupted = new Promise<void>(resolve => {
  // npm and the terminal both pass Ctrl-C on.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve())
})
// Settings of whoever starts it are meant for the servers.
const given = Object.fromEntries(
  Object.entries(process.env).flatMap(([name, value]) => (name.startsWith('IM_') && value ? [[name, value]] : [])),
)
try {
  const started = LocalCluster.start(ending, {
    ...options,
    environment: () => ({ IM_LOG_LEVEL: 'info', ...given }),
    said: (who, text) => process.stderr.write(`${who} | ${text}\n`),
  })
  const cluster = await Promise.race([started, interrupted])
  if (cluster) process.stdout.write(addresses(cluster))
  await interrupted
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`)
  process.exitCode = 1
}
process.stderr.write('Ending.\n')
await ending.end()
process.exit()
