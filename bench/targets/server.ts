/** The server of this repository, as it is started by anybody, on data made beforehand. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { topic } from '../../protocol/topics.ts'
import { type Child, start } from './child.ts'
import { directoryStorage, groupName, personName, seed } from './seed.ts'
import { type Options, partnerOf, type Scene, type Target } from './target.ts'

const APP = 'im'
const METRICS_TOKEN = 'metrics-of-the-benchmark'

export async function startServer(scene: Scene, { ids, textBytes }: Options, nodeArgs: string[] = []): Promise<Target> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-data-'))
  const keys = await seed(directoryStorage(directory), scene, { ids, textBytes })
  const server = await startOne({ IM_DATA_DIR: directory }, nodeArgs)
  return {
    name: 'im-server',
    pids: [server.pid],
    mqttPort: () => server.mqtt,
    httpPort: server.http,
    startedMs: server.startedMs,
    ...speaking(keys),
    metrics: () => metricsOf(server),
    async stop() {
      await server.stop()
      rmSync(directory, { recursive: true })
    },
  }
}

export interface Server extends Child {
  http: number
  mqtt: number
}

export async function startOne(
  settings: Record<string, string>,
  nodeArgs: string[] = [],
  pinned = true,
): Promise<Server> {
  const ports = { http: 0, mqtt: 0 }
  const env = {
    IM_HTTP_PORT: '0',
    IM_MQTT_PORT: '0',
    IM_RATE_LIMITS: 'off',
    IM_LOG_LEVEL: 'warn',
    IM_METRICS_TOKEN: METRICS_TOKEN,
    ...settings,
  }
  const program = new URL('../../server/main.js', import.meta.url).pathname
  const ready = async (line: () => Promise<string>) => void Object.assign(ports, JSON.parse(await line()))
  const child = await start([process.execPath, ...nodeArgs, program], env, ready, pinned)
  return { ...child, ...ports }
}

/** How people log in, and what they say where. */
export const speaking = (keys: readonly string[]): Pick<Target, 'login' | 'filters' | 'topic'> => ({
  login: person => ({ clientId: 'bench', username: personName(person), password: keys[person] as string }),
  filters: person => [topic('inbox', APP, personName(person))],
  topic: ({ from, to }) =>
    'person' in to
      ? topic('sendToUser', APP, personName(partnerOf(from)))
      : topic('sendToGroup', APP, groupName(to.group)),
})

export async function metricsOf({ http }: Server): Promise<string> {
  const headers = { authorization: `Bearer ${METRICS_TOKEN}` }
  const answer = await fetch(`http://127.0.0.1:${http}/metrics`, { headers })
  return answer.text()
}
