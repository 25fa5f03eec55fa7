/** Every server is restarted, one after the other, under apps behind nginx. */
import type { Ends } from '../support/ends.ts'
import { Nginx } from '../support/nginx.ts'
import type { TestServer } from '../support/server.ts'
import { App, median } from './apps.ts'
import type { Round } from './round.ts'

/** Half of all apps are back within that time when their server is restarted. */
const MEDIAN_MS = 2_000
const APPS = 10

/** `between`: what happens to a server that is stopped. */
export async function restartAll(
  ends: Ends,
  round: Round,
  servers: readonly TestServer[],
  between?: (server: TestServer) => void,
): Promise<Record<string, number>> {
  const nginx = await Nginx.make(
    ends,
    servers.map(({ ports }) => ports),
  )
  await nginx.start()
  const apps = round.people.slice(0, APPS).map(person => new App(round, person, nginx.ports.http))
  await Promise.all(apps.map(app => app.start()))
  await round.add(...apps)
  await round.some()
  round.breaks('servers restart')
  for (const server of servers) {
    const code = await server.stop()
    if (code !== 0) round.recorder.problems.push(`a server that was asked to stop ended with ${code}`)
    between?.(server)
    await server.start()
    await round.some()
  }
  round.mended('servers restart')
  await round.some()
  const away = apps.flatMap(({ awayMs }) => awayMs)
  if (median(away) >= MEDIAN_MS)
    round.recorder.problems.push(`half of all apps were away for ${median(away)} ms or more`)
  return { reconnects: away.length, reconnectMedianMs: median(away), reconnectLongestMs: Math.max(0, ...away) }
}
