/**
 * What a cluster stands, 1: three servers and one Cassandra, of which one part is broken while people talk. Nothing that was
 * acknowledged is lost, doubled or out of order, and everyone gets what is theirs when the fault is over.
 */
import assert from 'node:assert/strict'
import { after } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { LocalCluster } from './cluster/cluster.ts'
import { aheadMs, Clocks } from './faults/clock.ts'
import { Faults, withoutCluster } from './faults/play.ts'
import { restartAll } from './faults/rolling.ts'
import { Storm } from './faults/storm.ts'
import { Will } from './faults/wills.ts'
import { Ending } from './support/ends.ts'
import { scale } from './support/proof.ts'
import { absent, type TestServer } from './support/server.ts'

const NODES = 3
/** The long run has 10,000. */
const CONNECTS = scale('FAULT_CONNECTS', 60)

/** A clock is ahead for longer than a server that is silent is believed to live. */
const HOLD_MS = 16_000

/** Servers that cannot speak to each other take sessions from each other unasked: as after a crash, some entries come again. */
const AWAY = 'what servers speak through is away'

const ending = new Ending()
const skip = withoutCluster()
const withoutClock = skip || (process.platform === 'linux' ? await absent('cc') : 'clocks are moved on Linux only')
const clocks = withoutClock ? undefined : new Clocks(ending, NODES)
const faults = new Faults('faults', skip, ends =>
  LocalCluster.start(ends, { nodes: NODES, lines: true, environment: node => clocks?.of(node) ?? {} }),
)
after(() => ending.end())

faults.play('kill-server', 'kill -9 of a server, which starts again', async (round, { servers }) => {
  await round.some()
  const server = round.chance.of(servers)
  round.breaks('a server is dead')
  await server.kill()
  await wait(round.chance.below(2_000))
  await server.start()
  round.mended('a server is dead')
  await round.some()
})

faults.play('kill-redis', 'kill -9 of Redis, which starts again empty', async (round, { redis }) => {
  await round.some()
  round.breaks(AWAY)
  await redis.kill()
  await wait(round.chance.below(3_000))
  await redis.start()
  round.mended(AWAY)
  await round.some()
})

faults.play('pause-redis', 'Redis answers nothing for 10 s', async (round, { redis }) => {
  await round.some()
  round.breaks(AWAY)
  redis.pause()
  await wait(10_000)
  redis.resume()
  round.mended(AWAY)
  await round.some()
})

faults.play('cut-bus', 'a server is cut off from Redis, and so from the others', async (round, { lines }) => {
  await round.some()
  const line = round.chance.of(lines)
  round.breaks(AWAY)
  if (round.chance.happens(0.5)) line.cut()
  else line.hold()
  await wait(4_000 + round.chance.below(4_000))
  line.mend()
  round.mended(AWAY)
  await round.some()
})

faults.play('takeover-storm', 'one client id connects everywhere at once', async (round, { servers }) => {
  const [person] = round.people
  assert.ok(person)
  const storm = new Storm({ recorder: round.recorder, told: round.told, servers, person })
  await storm.begin()
  await round.add(storm)
  round.breaks('a takeover storm')
  await storm.blow(CONNECTS)
  const survivors = await storm.survivors()
  round.mended('a takeover storm')
  if (survivors !== 1) round.recorder.problems.push(`${survivors} connections of one session survive`)
  if (storm.untold > 0) round.recorder.problems.push(`${storm.untold} were not told why they ended`)
  await round.some()
  const { accepted, told, outrun } = storm
  return { connects: CONNECTS, accepted, told, outrun }
})

faults.play('rolling-restart', 'every server is restarted, one after the other', (round, { servers }) =>
  restartAll(ending, round, servers),
)

faults.play('dead-wills', 'a server dies, and the others tell the wills of its clients', async (round, { servers }) => {
  const [one, two, three] = round.people
  assert.ok(one && two && three)
  const server = round.chance.of(servers)
  const other = servers.find(any => any !== server)
  assert.ok(other)
  const [now, later, back] = [new Will(round, one, 0), new Will(round, two, 5), new Will(round, three, 0)]
  for (const will of [now, later, back]) await will.leave(server)
  const heard = Promise.all([round.hears(now.text), round.hears(later.text)])
  await round.some()
  round.breaks('a server is dead')
  await server.kill()
  const killedAt = performance.now()
  await back.leave(other)
  // Nobody is told of a death: it is seen by its silence, and clients have time to come back.
  await Promise.race([heard, wait(90_000)])
  const toldMs = performance.now() - killedAt
  await server.start()
  round.mended('a server is dead')
  await round.some()
  const counts = await Promise.all([now, later, back].map(will => will.count()))
  await back.goodbye()
  if (counts.join() !== '1,1,0') round.recorder.problems.push(`wills are told ${counts} times where 1,1,0 is right`)
  return { wills: 2, toldMs }
})

faults.play(
  'clock',
  'the clock of a server is 5 minutes ahead, and then right again',
  async (round, { servers }) => {
    await round.some()
    const node = 1 + round.chance.below(NODES)
    const server = servers[node - 1] as TestServer
    round.breaks('a clock is ahead')
    clocks?.shift(node, 300)
    await Promise.all([round.some(), wait(HOLD_MS)])
    const ahead = await aheadMs(server)
    if (Math.abs(ahead - 300_000) > 5_000) round.recorder.problems.push(`the clock is ${ahead} ms ahead`)
    await round.some()
    clocks?.shift(node, 0)
    round.mended('a clock is ahead')
    await round.some()
  },
  withoutClock,
)
