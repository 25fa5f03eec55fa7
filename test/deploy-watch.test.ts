/** What watches and what stands before the servers: Prometheus' files by promtool, and a real nginx. */
import assert from 'node:assert/strict'
import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connectAsync } from 'mqtt'
import { WebSocket, WebSocketServer } from 'ws'
import { FAULTS } from '../protocol/faults.ts'
import { ROOT } from '../server/documents.ts'
import { Telemetry } from '../server/telemetry.ts'
import { documents, filesBelow, NOTHING, type Tree, text } from './support/deploy.ts'
import { freePorts } from './support/ends.ts'
import { BEHIND_NGINX, Nginx } from './support/nginx.ts'
import { absent, TestServer } from './support/server.ts'

const WATCH = 'deploy/prometheus'
const ALERTS = `${WATCH}/alerts.yml`

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'im-watch-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}
const said = ({ stdout, stderr }: SpawnSyncReturns<string>) => `${stdout}${stderr}`

// ---- Prometheus ----

const promtool = await absent('promtool')
const runPromtool = (...words: string[]) => spawnSync('promtool', words, { cwd: ROOT, encoding: 'utf8' })

test('promtool takes the configuration and the rules', { skip: promtool }, t => {
  const dir = folder(t)
  const config = text(`${WATCH}/prometheus.yml`)
    .replace('/etc/prometheus/alerts.yml', join(ROOT, ALERTS))
    .replace('/tmp/metrics_token', join(dir, 'token'))
  writeFileSync(join(dir, 'token'), 'a token')
  writeFileSync(join(dir, 'prometheus.yml'), config)
  const checked = runPromtool('check', 'config', join(dir, 'prometheus.yml'))
  assert.equal(checked.status, 0, said(checked))
  assert.match(said(checked), /\d+ rules found/)
})

test('each fault raises its alerts, no other, and clears them', { skip: promtool }, () => {
  const tested = runPromtool('test', 'rules', `${WATCH}/alerts.test.yml`)
  assert.equal(tested.status, 0, said(tested))
})

interface Alert {
  alert: string
  labels: { severity: string }
  annotations: { summary: string; description: string }
}
const rules = Object.values(documents(text(ALERTS))[0]?.groups ?? NOTHING).flatMap(group =>
  Object.values(group.rules ?? NOTHING),
)
const alerts = rules.filter(({ alert }) => alert !== undefined) as unknown as Alert[]

test('every alert says what is and what to do, how much it matters, and is played', () => {
  const plays = text(`${WATCH}/alerts.test.yml`)
  for (const { alert, labels, annotations } of alerts) {
    assert.match(alert, /^Im[A-Z]/)
    assert.match(labels.severity, /^(critical|warning|info)$/, alert)
    assert.ok(annotations.summary && annotations.description, alert)
    assert.ok(plays.includes(`alertname="${alert}"`), `nothing raises ${alert} in alerts.test.yml`)
  }
  const told = text(`${WATCH}/README.md`).match(/\bIm[A-Z][A-Za-z]+/g) ?? []
  assert.deepEqual(
    told.filter(name => !alerts.some(({ alert }) => alert === name)),
    [],
  )
})

/** As the servers tell them, with what a histogram is told as; those of the cluster by the source that names them. */
async function known(): Promise<Set<string>> {
  const { body } = await new Telemetry({ logLevel: 'silent' }).metrics()
  const types = [...body.matchAll(/^# TYPE (\w+) (\w+)/gm)].map(([, name = '', type]) => ({ name, type }))
  const named = filesBelow('server', /\.ts$/).flatMap(file => text(file).match(/(?<=')im_[a-z_]+(?=')/g) ?? [])
  const parts = types.flatMap(({ name, type }) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  )
  // Which of those that only a source names is a histogram cannot be told.
  const any = named.flatMap(name => [name, `${name}_bucket`, `${name}_sum`, `${name}_count`])
  return new Set(['up', ...parts, ...any])
}
const namesIn = (source: string) => [...new Set(source.match(/\b(im|process|nodejs)_[a-z0-9_]+\b/g) ?? [])]

test('every metric that a rule, the dashboard or the autoscaler goes by is told', async () => {
  const there = await known()
  const dashboard = documents(text('deploy/grafana/dashboards/im.json'))[0] as Tree
  const autoscaling = documents(text('deploy/kubernetes/autoscaling.yaml'))[0]?.spec?.metrics?.[0]?.pods?.metric?.name
  const sources = {
    rules: rules.map(({ expr }) => expr).join('\n'),
    plays: text(`${WATCH}/alerts.test.yml`),
    dashboard: JSON.stringify(dashboard),
    autoscaler: String(autoscaling),
  }
  for (const [where, source] of Object.entries(sources)) {
    assert.ok(namesIn(source).length > 0, where)
    assert.deepEqual(
      namesIn(source).filter(name => !there.has(name)),
      [],
      where,
    )
  }
})

test('faults that the rules and the dashboard name are faults of the catalogue', () => {
  const source = text(ALERTS) + JSON.stringify(documents(text('deploy/grafana/dashboards/im.json')))
  const named = [...source.matchAll(/fault!?=\\*"([\w-]+)\\*"/g)].map(([, code = '']) => code)
  assert.ok(named.length > 4)
  assert.deepEqual(
    named.filter(code => code !== 'none' && !Object.hasOwn(FAULTS, code)),
    [],
  )
})

test('Grafana finds its source of data and its dashboard', () => {
  const [source] = documents(text('deploy/grafana/provisioning/datasources/prometheus.yml'))
  const uid = String(source?.datasources?.[0]?.uid)
  const panels = JSON.parse(text('deploy/grafana/dashboards/im.json')).panels as { id: number; title: string }[]
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  for (const [, used] of text('deploy/grafana/dashboards/im.json').matchAll(/"uid": "(im-[\w-]+)"/g))
    assert.equal(used, uid)
  const [provider] = documents(text('deploy/grafana/provisioning/dashboards/im.yml'))
  const path = String(provider?.providers?.[0]?.options?.path)
  assert.ok(text('docker-compose.yml').includes(`./deploy/grafana/dashboards:${path}:ro`))
})

// ---- nginx ----

const nginx = await absent('nginx')
for (const tls of [false, true])
  test(`nginx takes its file ${tls ? 'with' : 'without'} TLS`, { skip: nginx }, async t => {
    const closed = { mqtt: 9, http: 9 }
    const door = await Nginx.make(t, [closed, closed, closed, closed], { tls })
    const checked = door.check()
    assert.equal(checked.status, 0, checked.stderr)
    assert.doesNotMatch(checked.stderr, /\[(warn|emerg)\]/)
  })

test('through nginx a client speaks MQTT, WebSocket and REST, and does not reach the metrics', {
  skip: nginx,
  timeout: 60_000,
}, async t => {
  const server = await TestServer.start(t, { ...BEHIND_NGINX, IM_METRICS_TOKEN: 'a long token' })
  const { key } = await server.register('alice')
  const door = await Nginx.make(t, [server.ports, server.ports], { tls: true })
  await door.start()
  const { mqtt, http, mqtts, https } = door.ports

  for (const url of [
    `mqtt://127.0.0.1:${mqtt}`,
    `ws://127.0.0.1:${http}/mqtt`,
    `mqtts://127.0.0.1:${mqtts}`,
    `wss://127.0.0.1:${https}/mqtt`,
  ]) {
    const client = await connectAsync(url, {
      protocolVersion: 5,
      username: 'alice',
      password: key,
      rejectUnauthorized: false,
      reconnectPeriod: 0,
    })
    await client.publishAsync('im/u/alice/send', `by ${url}`, { qos: 1 })
    await client.endAsync()
  }
  const status = async (path: string) =>
    (await fetch(`http://127.0.0.1:${http}${path}`, { headers: { authorization: 'Bearer a long token' } })).status
  assert.equal(await status('/readyz'), 200)
  assert.equal(await status('/nginx'), 200)
  assert.equal(await status('/metrics'), 404)
})

/** A server of WebSockets on that port, and what ends it with all its connections. */
async function upgrades(port: number) {
  const server = new WebSocketServer({ port, host: '127.0.0.1' })
  await once(server, 'listening')
  const end = () => {
    for (const client of server.clients) client.terminate()
    server.close()
  }
  return { server, end }
}

test('a server that was away takes everyone at once who comes by WebSocket', {
  skip: nginx,
  timeout: 60_000,
}, async t => {
  const [one = 0, two = 0] = await freePorts(2)
  const door = await Nginx.make(
    t,
    [one, two].map(http => ({ mqtt: 9, http })),
  )
  await door.start()
  const connect = async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${door.ports.http}/mqtt`)
    t.after(() => socket.terminate())
    await once(socket, 'open')
    return socket
  }
  const first = await upgrades(one)
  t.after(first.end)
  // The second is not there, which nginx knows when two have come.
  await Promise.all([connect(), connect()])
  const second = await upgrades(two)
  t.after(second.end)
  // Until its time to be tried again has come.
  while (second.server.clients.size === 0) {
    const socket = await connect()
    if (second.server.clients.size === 0) socket.terminate()
  }
  first.end()
  await Promise.all(Array.from({ length: 8 }, connect))
  assert.ok(second.server.clients.size >= 8)
})
