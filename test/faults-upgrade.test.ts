/** What a cluster stands, 4: servers of the version before become those of this one, one after the other, while people talk. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { LocalCluster } from './cluster/cluster.ts'
import { build, commitBefore } from './faults/before.ts'
import { Faults, withoutCluster } from './faults/play.ts'
import { restartAll } from './faults/rolling.ts'
import { Ending } from './support/ends.ts'
import { entryOf } from './support/person.ts'
import { PROGRAM, TestServer } from './support/server.ts'

const NODES = 3
const TO_BOB = '/conversations/u:alice:bob/messages'

const ending = new Ending()
after(() => ending.end())
const commit = commitBefore()
const unknown = !commit && 'the history of the repository is not at hand'
assert.ok(!unknown || !process.env.REQUIRE_REAL_PARTS, String(unknown))
let built: string | undefined
/** Once, when a test needs it. */
const before = () => (built ??= build(ending, commit as string))

// Tables that this version has made are not taken back: each round begins with new ones.
const faults = new Faults(
  'faults-upgrade',
  withoutCluster() || unknown,
  ends => LocalCluster.start(ends, { nodes: NODES, program: before() }),
  { anew: true },
)

faults.play(
  'rolling-upgrade',
  'every server of the version before is replaced by one of this version',
  (round, { servers }) =>
    restartAll(ending, round, servers, server => {
      server.program = PROGRAM
    }),
)

test('a server by itself goes on with what the version before has stored', { skip: unknown }, async t => {
  const server = TestServer.idle(t, {}, { program: before() })
  await server.start()
  const { alice, bob } = await server.people('alice', 'bob')
  const phone = await bob.connect()
  await phone.subscribe(bob.inbox)
  await alice.api('POST', TO_BOB, { text: 'read' })
  phone.ack('puback', (await phone.next('publish')).id as number)
  await phone.cut()
  await alice.api('POST', TO_BOB, { text: 'before' })
  assert.equal(await server.stop(), 0)
  server.program = PROGRAM
  await server.start()
  await alice.api('POST', TO_BOB, { text: 'after' })
  const back = await bob.connect()
  const [first, second] = [await back.next('publish'), await back.next('publish')].map(packet => entryOf(packet).text)
  assert.deepEqual([first, second], ['before', 'after'])
  assert.deepEqual(
    (await bob.history('u:alice:bob')).map(({ text }) => text),
    ['read', 'before', 'after'],
  )
})
