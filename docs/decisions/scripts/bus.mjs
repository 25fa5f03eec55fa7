/**
 * mqemitter-redis against plain pub/sub for what nodes tell each other live: docs/decisions/bus.md.
 *   npm install --prefix /tmp/stock --ignore-scripts mqemitter-redis
 *   npm run build && node docs/decisions/scripts/bus.mjs /tmp/stock
 */
import { openRedis } from '../../../dist/storage/redis/open.js'
import { packages, percentile, quiet, redisServer, say, sleep } from './redis-server.mjs'

const mqemitter = packages(process.argv[2]).of('mqemitter-redis')
const PAYLOAD = 300

/** Either of them, as a sender and a receiver: `publish` and `listen` take what each takes, and nothing is added. */
const KINDS = {
  'mqemitter-redis': async port => {
    const [from, to] = [mqemitter({ host: '127.0.0.1', port }), mqemitter({ host: '127.0.0.1', port })]
    for (const each of [from, to]) each.state.on('error', () => {})
    let refused = 0
    return {
      publish: (topic, payload) => from.emit({ topic, payload }, error => error && refused++),
      listen: (topic, heard) =>
        new Promise(done => to.on(topic, ({ payload }, next) => [heard(payload), next()], done)),
      refused: () => refused,
      told: () => 'nobody',
    }
  },
  'plain pub/sub': async port => {
    const url = `redis://127.0.0.1:${port}`
    const [from, to] = [await openRedis({ url, node: 'a' }), await openRedis({ url, node: 'b' })]
    let missed = 0
    to.bus.onMissed(() => missed++)
    return {
      publish: (topic, payload) => from.bus.publish(topic, payload),
      async listen(topic, heard) {
        to.bus.subscribe(topic, heard)
        await to.bus.settled()
      },
      refused: () => from.bus.dropped,
      told: () => `told ${missed} times`,
    }
  },
}

async function latency(bus) {
  const took = []
  let wake
  await bus.listen('latency', payload => {
    took.push(Number(process.hrtime.bigint() - payload.readBigUInt64LE()) / 1e3)
    wake()
  })
  for (let n = 0; n < 5_000; n++) {
    const payload = Buffer.alloc(PAYLOAD)
    const heard = new Promise(done => {
      wake = done
    })
    payload.writeBigUInt64LE(process.hrtime.bigint())
    bus.publish('latency', payload)
    await heard
  }
  took.sort((a, b) => a - b)
  return `${percentile(took, 0.5).toFixed(0)} / ${percentile(took, 0.99).toFixed(0)} µs`
}

/** 1,000 channels, with at most 500 messages that are not heard yet; both ends are in this process. */
async function throughput(bus) {
  const count = 100_000
  let heard = 0
  let wake = () => {}
  for (let n = 0; n < 1_000; n++)
    await bus.listen(`g/${n}`, () => {
      heard++
      wake()
    })
  const payload = Buffer.alloc(PAYLOAD)
  const cpu = process.cpuUsage()
  const from = performance.now()
  for (let sent = 0; sent < count; sent++) {
    while (sent - heard > 500)
      await new Promise(done => {
        wake = done
      })
    bus.publish(`g/${sent % 1_000}`, payload)
  }
  while (heard < count)
    await new Promise(done => {
      wake = done
    })
  const ms = performance.now() - from
  const { user, system } = process.cpuUsage(cpu)
  return `${Math.round(count / (ms / 1e3)).toLocaleString('en')}/s, ${((user + system) / count).toFixed(1)} µs of CPU`
}

/** 1,000 messages a second while something happens to Redis; whatever is sent is counted, late, lost and disordered. */
async function under(bus, happens, forMs) {
  const heard = []
  await bus.listen('fault', payload =>
    heard.push({ n: payload.readUInt32LE(), ms: performance.now() - payload.readDoubleLE(4) }),
  )
  const before = process.memoryUsage().rss
  let most = before
  let sent = 0
  const timer = setInterval(() => {
    for (let i = 0; i < 10; i++) {
      const payload = Buffer.alloc(PAYLOAD)
      payload.writeUInt32LE(sent++)
      payload.writeDoubleLE(performance.now(), 4)
      bus.publish('fault', payload)
    }
    most = Math.max(most, process.memoryUsage().rss)
  }, 10)
  await sleep(500)
  const from = performance.now()
  await happens()
  await sleep(Math.max(0, forMs - (performance.now() - from)))
  clearInterval(timer)
  await quiet(() => heard.length)
  const distinct = new Set(heard.map(({ n }) => n)).size
  const late = heard.filter(({ ms }) => ms > 1_500).length
  const disorder = heard.filter(({ n }, i) => i > 0 && n < heard[i - 1].n).length
  return (
    `of ${sent}: ${sent - distinct} lost, ${heard.length - distinct} twice, ${disorder} out of order, ${late} more than 1.5 s late; ` +
    `${bus.told()}; memory +${((most - before) / 1e6).toFixed(0)} MB`
  )
}

say('what', Object.keys(KINDS).join(' | '))
say(
  '---',
  Object.keys(KINDS)
    .map(() => '---')
    .join(' | '),
)
const row = async (what, measure) => {
  const cells = []
  for (const open of Object.values(KINDS)) {
    const redis = await redisServer()
    cells.push(await measure(await open(redis.port), redis))
    await redis.kill()
  }
  say(what, cells.join(' | '))
}
await row(`one message of ${PAYLOAD} B at a time, median / 99 %`, latency)
await row('1,000 channels, 500 under way', throughput)
await row('Redis is killed, and started again 3 s later', (bus, redis) =>
  under(
    bus,
    async () => {
      await redis.kill()
      await sleep(3_000)
      await redisServer(redis.port)
    },
    8_000,
  ),
)
await row('Redis is silent for 10 s', (bus, redis) =>
  under(
    bus,
    async () => {
      redis.pause()
      await sleep(10_000)
      redis.resume()
    },
    14_000,
  ),
)
process.exit(0)
