/** `npm run cluster` in small: two servers, Redis, one Cassandra and the shipped nginx, used by stock clients. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { LocalCluster } from './cluster/cluster.ts'
import { missing } from './cluster/needs.ts'
import type { EntryJson, Person } from './support/person.ts'
import { absent } from './support/server.ts'

const parts = missing({ nginx: true }).join(' ')
assert.ok(!parts || !process.env.REQUIRE_REAL_PARTS, parts)
const skip = (await absent('mosquitto_pub')) || (await absent('mosquitto_sub')) || parts || false

const account = (port: number, { user, key }: Person) => ['-V', '5', '-p', `${port}`, '-u', user, '-P', key, '-q', '1']

/** mosquitto_sub, when its subscription is granted. */
async function subscribe(port: number, person: Person) {
  const words = ['-oL', 'mosquitto_sub', ...account(port, person), '-d', '-t', person.inbox, '-C', '1', '-W', '30']
  const child = spawn('stdbuf', words, { stdio: ['ignore', 'pipe', 'ignore'] })
  const lines: string[] = []
  const ended = once(child, 'close')
  const granted = new Promise<void>(resolve =>
    createInterface(child.stdout).on('line', text => {
      lines.push(text)
      if (text.startsWith('Subscribed')) resolve()
    }),
  )
  await Promise.race([granted, ended])
  return async () => {
    await ended
    return lines.filter(text => text.startsWith('{')).map(text => JSON.parse(text) as EntryJson)
  }
}

/** How many connections of MQTT each server has, as it tells. */
const connections = (cluster: LocalCluster) =>
  Promise.all(
    cluster.servers.map(async ({ ports }) => {
      const told = await (await fetch(`http://127.0.0.1:${ports.http}/metrics`)).text()
      return Number(/^im_connections(?:\{[^}]*\})? (\d+)/m.exec(told)?.[1])
    }),
  )

test('what a user on one server says, a user on the other hears, by stock clients through nginx', {
  skip,
  timeout: 180_000,
}, async t => {
  const cluster = await LocalCluster.start(t, { nginx: true })
  const [one, two] = cluster.servers
  assert.ok(one && two && cluster.nginx)
  const { mqtt } = cluster.nginx.ports
  const alice = await one.register('alice')
  const bob = await two.register('bob')

  // nginx gives each new connection to the server that has fewer.
  const heardByAlice = await subscribe(mqtt, alice)
  const heardByBob = await subscribe(mqtt, bob)
  assert.deepEqual(await connections(cluster), [1, 1])

  const publish = ['-t', 'im/u/bob/send', '-m', 'from the other server']
  const child = spawn('mosquitto_pub', [...account(mqtt, alice), ...publish], { stdio: 'ignore' })
  assert.deepEqual(await once(child, 'exit'), [0, null])

  const [ofAlice] = await heardByAlice()
  const [ofBob] = await heardByBob()
  assert.equal(ofBob?.text, 'from the other server')
  assert.equal(ofBob?.from, 'alice')
  assert.deepEqual(ofAlice, ofBob)
})
