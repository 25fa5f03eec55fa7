/**
 * Mosquitto, the fixed reference: the same people and payloads on plain topics, one for each pair and group, to which
 * everybody in it subscribes. Persistent sessions; nothing is written to disk before its PUBACK.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, sleep } from '../machine.ts'
import { start } from './child.ts'
import { pairOf, type Scene, type Target } from './target.ts'

const PROGRAM = ['/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto', '/opt/homebrew/sbin/mosquitto'].find(existsSync)

/** Its version, or nothing where it is not installed. */
export const mosquittoVersion = (): string | undefined =>
  PROGRAM && /version (\S+)/.exec(spawnSync(PROGRAM, ['-h']).stdout.toString())?.[1]

export async function startMosquitto(scene: Scene): Promise<Target> {
  if (!PROGRAM) throw new Error('mosquitto is not installed')
  const directory = mkdtempSync(join(tmpdir(), 'bench-mosquitto-'))
  const port = await freePort()
  const settings = [
    'allow_anonymous true',
    'set_tcp_nodelay true',
    'max_queued_messages 0',
    'max_inflight_messages 100',
  ]
  writeFileSync(join(directory, 'conf'), [`listener ${port} 127.0.0.1`, ...settings, 'log_type error', ''].join('\n'))
  const child = await start([PROGRAM, '-c', join(directory, 'conf')], {}, () => answering(port))
  const groups = scene.groups ?? []
  return {
    name: 'mosquitto',
    pids: [child.pid],
    mqttPort: () => port,
    startedMs: child.startedMs,
    login: person => ({ clientId: `bench-${person}` }),
    filters: person => [
      `bench/pair/${pairOf(person)}`,
      ...groups.flatMap((members, g) => (members.includes(person) ? [`bench/group/${g}`] : [])),
    ],
    topic: ({ from, to }) => ('person' in to ? `bench/pair/${pairOf(from)}` : `bench/group/${to.group}`),
    async stop() {
      await child.stop()
      rmSync(directory, { recursive: true })
    },
  }
}

async function answering(port: number): Promise<void> {
  for (;;) {
    const open = await new Promise<boolean>(done => {
      const socket = connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false))
      socket.on('connect', () => socket.destroy())
    })
    if (open) return
    await sleep(5)
  }
}
