import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError, readConfig, settingsTable } from '../server/config.ts'

function problems(env: Record<string, string>): readonly string[] {
  try {
    readConfig(env)
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.problems
  }
  return []
}

test('every default works without any variable, and variables of others do not matter', () => {
  const config = readConfig({ PATH: '/bin', IMPORTANT: '1' })
  assert.equal(config.httpPort, 8080)
  assert.equal(config.mqttPort, 1883)
  assert.equal(config.bind, '127.0.0.1')
  assert.equal(config.storage, 'level')
  assert.equal(config.fsync, true)
  assert.deepEqual(config.trustedProxies, [])
  assert.equal(config.ownerPassword, undefined)
})

test('values are read as what they are', () => {
  const config = readConfig({
    IM_HTTP_PORT: '0',
    IM_FSYNC: 'off',
    IM_TRUSTED_PROXIES: '10.0.0.0/8, ::1',
    IM_CORS_ORIGINS: 'https://chat.example.com',
    IM_TLS_CERT: 'a.pem',
    IM_TLS_KEY: 'b.pem',
  })
  assert.equal(config.httpPort, 0)
  assert.equal(config.fsync, false)
  assert.deepEqual(config.trustedProxies, ['10.0.0.0/8', '::1'])
  assert.deepEqual(config.corsOrigins, ['https://chat.example.com'])
})

test('an empty value counts as none', () => {
  assert.equal(readConfig({ IM_HTTP_PORT: '', IM_METRICS_TOKEN: '' }).httpPort, 8080)
})

test('an unknown variable names the nearest setting', () => {
  assert.deepEqual(problems({ IM_HTTP_PROT: '1' }), ['IM_HTTP_PROT is not a setting; the nearest one is IM_HTTP_PORT.'])
  assert.match(problems({ IM_DATADIR: 'x' })[0] ?? '', /IM_DATA_DIR/)
  assert.match(problems({ IM_: 'x' })[0] ?? '', /is not a setting/)
})

// biome-ignore format: a table, a row a line
const BAD: [string, string][] = [
  ['IM_HTTP_PORT', '65536'], ['IM_HTTP_PORT', '-1'], ['IM_HTTP_PORT', '80.5'], ['IM_HTTP_PORT', '0x50'], ['IM_HTTP_PORT', ' 80'],
  ['IM_STORAGE', 'redis'], ['IM_FSYNC', 'yes'], ['IM_REGISTRATION', 'maybe'], ['IM_LOG_LEVEL', 'loud'],
  ['IM_SESSION_EXPIRY_DAYS', '0'], ['IM_TRUSTED_PROXIES', '10.0.0.0/33'], ['IM_TRUSTED_PROXIES', 'example.com'],
  ['IM_CASSANDRA_HOSTS', 'a,b c'], ['IM_CASSANDRA_HOSTS', ','], ['IM_CASSANDRA_HOSTS', 'cassandra://a'], ['IM_CASSANDRA_KEYSPACE', 'Im'],
  ['IM_CASSANDRA_KEYSPACE', 'im-1'], ['IM_CASSANDRA_CONSISTENCY', 'one'], ['IM_CASSANDRA_BUCKET', '9'], ['IM_CASSANDRA_REPLICATION', '0'],
  ['IM_CORS_ORIGINS', 'example.com'], ['IM_CORS_ORIGINS', 'https://example.com/'], ['IM_BIND', 'not a host'],
]

test('a bad value stops the start with one sentence that names it', () => {
  for (const [env, value] of BAD) {
    const found = problems({ [env]: value })
    assert.equal(found.length, 1, `${env}=${value}: ${found}`)
    assert.ok(found[0]?.startsWith(`${env} takes `) && found[0].includes(JSON.stringify(value)), found[0])
  }
})

test('all problems are told at once', () => {
  assert.equal(problems({ IM_HTTP_PORT: 'x', IM_MQTT_PORT: 'y', IM_NOTHING: 'z' }).length, 3)
})

test('a secret that does not fit is not repeated', () => {
  assert.deepEqual(problems({ IM_OWNER_PASSWORD: 'short' }), ['IM_OWNER_PASSWORD takes 8 to 256 characters.'])
  assert.doesNotMatch(problems({ IM_REDIS_URL: 'http://im:hunter2@r' })[0] ?? 'hunter2', /hunter2/)
})

test('settings that contradict each other are refused', () => {
  assert.match(problems({ IM_TLS_CERT: 'a.pem' })[0] ?? '', /IM_TLS_KEY/)
  assert.match(problems({ IM_STORAGE: 'cassandra' })[0] ?? '', /needs IM_REDIS_URL: the servers of a cluster share one/)
  assert.match(problems({ IM_REDIS_URL: 'redis://r' })[0] ?? '', /of no use without IM_STORAGE=cassandra/)
  assert.match(problems({ IM_REDIS_PASSWORD_FILE: 'f' })[0] ?? '', /without IM_REDIS_URL/)
  assert.match(problems({ IM_CASSANDRA_USER: 'im' })[0] ?? '', /IM_CASSANDRA_PASSWORD_FILE are needed together/)
  assert.deepEqual(problems({ IM_STORAGE: 'cassandra', IM_REDIS_URL: 'redis://r' }), [])
})

test('the table of settings has a row for every setting', () => {
  const rows = settingsTable().split('\n')
  assert.equal(rows.length - 2, Object.keys(readConfig({})).length + missing())
  assert.ok(rows.some(row => row.startsWith('| `IM_FSYNC` | `on` |')))
})

/** Settings without a default are not in what is read from nothing. */
function missing(): number {
  const optional = [
    ...['ownerPassword', 'tlsCertificate', 'tlsKey', 'metricsToken'],
    ...[
      'redisSentinelPasswordFile',
      'node',
      'redisUrl',
      'redisPasswordFile',
      'cassandraUser',
      'cassandraPasswordFile',
      'cassandraCa',
    ],
  ]
  return optional.filter(name => !(name in readConfig({}))).length
}
