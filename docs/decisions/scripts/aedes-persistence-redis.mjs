/**
 * What stock Aedes with aedes-persistence-redis and mqemitter-redis does with chat: docs/decisions/aedes-persistence-redis.md.
 *   npm install --prefix /tmp/stock --ignore-scripts aedes@2.0.0-beta.1 aedes-persistence-redis mqemitter-redis mqtt ioredis
 *   node docs/decisions/scripts/aedes-persistence-redis.mjs /tmp/stock
 */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { freePort, packages, quiet, redisServer, say } from './redis-server.mjs'

const { of, load } = packages(process.argv[2])
const { Aedes } = await load('aedes')
const mqtt = of('mqtt')
const Redis = of('ioredis').default

const redis = await redisServer()
const at = { host: '127.0.0.1', port: redis.port }
const persistence = of('aedes-persistence-redis')(at)
const mq = of('mqemitter-redis')(at)
const broker = await Aedes.createBroker({ persistence, mq, concurrency: 0 })
const port = await freePort()
const listener = createServer(broker.handle).listen(port, '127.0.0.1')
await once(listener, 'listening')
const info = new Redis(at)
const commands = async () => Number(/total_commands_processed:(\d+)/.exec(await info.info('stats'))[1])

async function client(clientId, options = {}) {
  const connection = mqtt.connect({
    ...{ host: '127.0.0.1', port, clientId, clean: false, reconnectPeriod: 0, resubscribe: false, keepalive: 0 },
    ...{ connectTimeout: 10_000, ...options },
  })
  const got = []
  connection.on('message', (_, payload) => got.push(`${payload}`.includes(' ') ? `${payload}` : Number(`${payload}`)))
  const isIn = await once(connection, 'connect').then(
    () => true,
    () => false,
  )
  connection.on('error', () => {})
  return { connection, got, isIn, leave: () => connection.endAsync() }
}
const publishers = await Promise.all(Array.from({ length: 10 }, (_, i) => client(`publisher-${i}`, { clean: true })))
const [publisher] = publishers

/** Publishes numbers, so many without their PUBACK at once; resolves when all are acknowledged. */
async function publish(topic, from, to, inFlight = 100, by = [publisher]) {
  let next = from
  const one = async (_, i) => {
    while (next <= to) await by[i % by.length].connection.publishAsync(topic, `${next++}`, { qos: 1 })
  }
  await Promise.all(Array.from({ length: inFlight }, one))
  return to - from + 1
}
const inversions = got => got.filter((n, i) => i > 0 && n < got[i - 1]).length
const share = (part, whole) => `${part} of ${whole} (${((100 * part) / whole).toFixed(1)} %)`

async function online(name, count, inFlight, by) {
  const { connection, got, leave } = await client(name)
  await connection.subscribeAsync(name, { qos: 1 })
  await publish(name, 1, count, inFlight, by)
  await quiet(() => got.length)
  const distinct = new Set(got)
  say(
    `online, QoS 1, ${by.length} senders, ${inFlight} in flight: acknowledged to the sender and never delivered`,
    share(count - distinct.size, count),
  )
  say('… delivered after a later one', share(inversions(got), got.length))
  await leave()
  // Whatever was lost while online may still wait for the next connect.
  const again = await client(name)
  await quiet(() => again.got.length)
  for (const n of again.got) distinct.add(n)
  say('… still missing after a reconnect', share(count - distinct.size, count))
  await again.leave()
}

/** Many senders write to one person, and to a group of that person and 100 who are away. */
async function mixed(count) {
  await offline('mixed-group', 100)
  const { connection, got, leave } = await client('mixed')
  for (const topic of ['mixed', 'mixed-group']) await connection.subscribeAsync(topic, { qos: 1 })
  await Promise.all([
    publish('mixed', 1, count, 20, publishers),
    publish('mixed-group', count + 1, count * 2, 20, publishers),
  ])
  await quiet(() => got.length)
  await leave()
  const again = await client('mixed')
  await quiet(() => again.got.length)
  const missing = count * 2 - new Set(got).size
  const forGood = count * 2 - new Set([...got, ...again.got]).size
  say(
    'online, to a person and to a group of 100 who are away: acknowledged and never delivered',
    share(missing, count * 2),
  )
  say('… still missing after a reconnect', share(forGood, count * 2))
  await again.leave()
}

async function offline(topic, count) {
  for (let from = 0; from < count; from += 10)
    await Promise.all(
      Array.from({ length: 10 }, async (_, i) => {
        const { connection, leave } = await client(`${topic}-${from + i}`)
        await connection.subscribeAsync(topic, { qos: 1 })
        await leave()
      }),
    )
}

async function cap() {
  const { connection, leave } = await client('away')
  await connection.subscribeAsync('away', { qos: 1 })
  await leave()
  const count = await publish('away', 1, 3_000)
  const seen = []
  for (let connects = 1; connects <= 3; connects++) {
    const back = await client('away')
    if (back.isIn) await quiet(() => back.got.length)
    seen.push(back.isIn ? back.got.length : 'no CONNACK within 10 s')
    await back.leave()
  }
  say(`${count} messages while away: delivered at the first, second and third connect`, seen.join(', '))
}

async function overtaking() {
  const { connection, leave } = await client('resumes')
  await connection.subscribeAsync('resumes', { qos: 1 })
  await leave()
  await publish('resumes', 1, 500)
  const coming = client('resumes')
  await publish('resumes', 501, 1_000, 10)
  const { got, leave: leaveAgain } = await coming
  await quiet(() => got.length)
  const firstLive = got.findIndex(n => n > 500)
  const overtaken = got.slice(firstLive).filter(n => n <= 500).length
  say('500 stored, 500 sent while resuming: stored ones that a live one overtook', firstLive < 0 ? 0 : overtaken)
  say('… not delivered on that connection', share(1_000 - new Set(got).size, 1_000))
  await leaveAgain()
  const again = await client('resumes')
  await quiet(() => again.got.length)
  say('… still missing after another connect', share(1_000 - new Set([...got, ...again.got]).size, 1_000))
  await again.leave()
}

async function manyOffline(count) {
  await offline(`group/${count}`, count)
  const listens = await client(`listens-${count}`, { clean: true })
  await listens.connection.subscribeAsync(`group/${count}`, { qos: 0 })
  const before = await commands()
  const from = performance.now()
  const heard = once(listens.connection, 'message').then(() => performance.now() - from)
  await publisher.connection.publishAsync(`group/${count}`, 'x', { qos: 1 })
  const acknowledged = performance.now() - from
  // Another client's publish has to wait for what this one does to the process.
  await publisher.connection.publishAsync('elsewhere', 'x', { qos: 1 })
  const next = performance.now() - from
  const live = await heard
  await quiet(() => 0, 1_000)
  const sent = (await commands()) - before
  const ms = value => `${value.toFixed(0)} ms`
  say(
    `one publish to ${count} offline sessions: until acknowledged, until delivered to one who is online`,
    `${ms(acknowledged)}, ${ms(live)}`,
  )
  say('… until the next publish, to nobody, is acknowledged', ms(next))
  say('… commands to Redis', sent)
  await listens.leave()
}

say('what', 'measured')
say('---', '---')
await online('online-1', 5_000, 100, [publisher])
await online('online-2', 5_000, 10, publishers)
await online('online-3', 5_000, 100, publishers)
await mixed(300)
await cap()
await overtaking()
await manyOffline(100)
await manyOffline(2_000)
process.exit(0)
