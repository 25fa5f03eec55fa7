/** The server of this repository, as it is started by anybody, on data made beforehand. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { topic } from '../../protocol/topics.ts'
import { start } from './child.ts'
import { groupName, personName, seed } from './seed.ts'
import { type Options, partnerOf, type Scene, type Target } from './target.ts'

const APP = 'im'
const METRICS_TOKEN = 'metrics-of-the-benchmark'

export async function startServer(scene: Scene, { ids, textBytes }: Options, nodeArgs: string[] = []): Promise<Target> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-data-'))
  const keys = await seed(directory, scene, { ids, textBytes })
  const ports = { http: 0, mqtt: 0 }
  const env = {
    IM_HTTP_PORT: '0',
    IM_MQTT_PORT: '0',
    IM_DATA_DIR: directory,
    IM_RATE_LIMITS: 'off',
    IM_LOG_LEVEL: 'warn',
    IM_METRICS_TOKEN: METRICS_TOKEN,
  }
  const program = new URL('../../server/main.js', import.meta.url).pathname
  const child = await start([process.execPath, ...nodeArgs, program], env, async line => {
    Object.assign(ports, JSON.parse(await line()))
  })
  return {
    name: 'im-server',
    pid: child.pid,
    mqttPort: ports.mqtt,
    httpPort: ports.http,
    startedMs: child.startedMs,
    login: person => ({ clientId: 'bench', username: personName(person), password: keys[person] as string }),
    filters: person => [topic('inbox', APP, personName(person))],
    topic: ({ from, to }) =>
      'person' in to
        ? topic('sendToUser', APP, personName(partnerOf(from)))
        : topic('sendToGroup', APP, groupName(to.group)),
    async metrics() {
      const answer = await fetch(`http://127.0.0.1:${ports.http}/metrics`, {
        headers: { authorization: `Bearer ${METRICS_TOKEN}` },
      })
      return answer.text()
    },
    async stop() {
      await child.stop()
      rmSync(directory, { recursive: true })
    },
  }
}
