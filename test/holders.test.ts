/** A session that comes here from another node waits for what that one writes, also where it could not be heard for a while. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AedesClient, ConnectPacket } from '../broker/aedes.ts'
import { ConnectionTable } from '../broker/connections.ts'
import { Entrance, type EntranceNeeds } from '../broker/entrance.ts'
import { Holders, type HoldersNeeds } from '../broker/holders.ts'
import { Peers, type PeersNeeds } from '../broker/peers.ts'
import { SessionStore } from '../broker/sessions.ts'
import type { Cluster } from '../core/ports.ts'
import type { Member } from '../protocol/ids.ts'
import { Hub } from '../storage/memory/hub.ts'
import { openStorage } from '../storage/open.ts'
import { IM, TestClock } from './support/core.ts'

const turn = () => new Promise(resolve => setImmediate(resolve))
const KEY = 'im/bob/phone'

/** Two nodes, of which the other does not answer, and was heard last so long ago. */
async function asks(silentMs: number) {
  const hub = new Hub()
  hub.join('n2')
  const cluster = hub.join('n1')
  cluster.bus.peers = () => [{ node: 'n2', silentMs }]
  const clock = new TestClock()
  const holders = new Holders({ cluster, scheduler: clock } as unknown as HoldersNeeds)
  const asked = { isOver: false, hasLeft: false }
  const over = holders
    .opening(KEY, leaves => leaves('n2/1', 1, async () => asked.hasLeft))
    .then(() => {
      asked.isOver = true
    })
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 50) {
      clock.advance(50)
      await turn()
    }
  }
  return { asked, over, pass }
}

test('what a node writes that was silent and is back is waited for', async () => {
  const { asked, over, pass } = await asks(6_000)
  await pass(900)
  assert.equal(asked.isOver, false)
  asked.hasLeft = true
  await pass(250)
  await over
})

test('a node that stays silent is not waited for longer than a second', async () => {
  const { asked, over, pass } = await asks(6_000)
  await pass(950)
  assert.equal(asked.isOver, false)
  await pass(300)
  await over
})

test('a node that is heard is waited for for eight seconds', async () => {
  const { asked, over, pass } = await asks(500)
  await pass(7_900)
  assert.equal(asked.isOver, false)
  await pass(400)
  await over
})

test('a word that was long on its way ends no connection that began behind it', async () => {
  const hub = new Hub()
  const clock = new TestClock()
  const ended: string[] = []
  const connection = { session: { record: { row: { epoch: 5 } } }, end: (code: string) => ended.push(code) }
  const needs = {
    scheduler: clock,
    table: { ofSession: () => connection },
    closed: async () => {},
    failed: assert.fail,
  }
  const [here] = ['n1', 'n2'].map(
    node => new Holders({ ...needs, cluster: hub.join(node) } as unknown as HoldersNeeds),
  ) as [Holders, Holders]
  for (const [epoch, codes] of [
    [4, []],
    [5, ['session-taken-over']],
  ] as const) {
    await here.opening(KEY, leaves => leaves('n2/1', epoch, async () => false))
    assert.deepEqual(ended, codes)
  }
})

test('who has gone while another node was waited for takes nothing from who came after them', async () => {
  const clock = new TestClock()
  await using storage = await openStorage({ engine: 'memory', clock })
  const { records } = storage
  const [here, other] = ['n1/a', 'n2/b'].map(run => new SessionStore({ records, scheduler: clock, run })) as [
    SessionStore,
    SessionStore,
  ]
  const id = { app: IM, member: 'bob' as Member, clientId: 'phone' }
  const { row } = await other.open(id, { clean: false, expirySeconds: 60, grant: 'g' })
  const client = { closed: false }
  const goes: Pick<Holders, 'opening'> = {
    opening: (_, open) =>
      open(async () => {
        client.closed = true
      }),
  }
  const entrance = new Entrance({
    gatekeeper: { connect: async () => ({ kind: 'user', app: IM, user: 'bob', member: 'bob', grant: 'g' }) },
    table: new ConnectionTable({ get: async () => undefined }),
    ...{ store: here, holders: goes, options: { connectionsPerUser: 10 }, stopping: () => false },
  } as unknown as EntranceNeeds)
  const packet = { cmd: 'connect', clientId: 'phone', clean: false, username: 'bob', password: Buffer.from('p') }
  await assert.rejects(entrance.admit(client as AedesClient, packet as unknown as ConnectPacket, '127.0.0.1'), {
    code: 'shutting-down',
  })
  assert.deepEqual(await here.standing([row]), ['here'])
})

test('who comes into a conversation while a server ends is told so on every other', async () => {
  const hub = new Hub()
  const [ending, other] = ['n1', 'n2'].map(node => hub.join(node)) as [Cluster, Cluster]
  const clock = new TestClock()
  await using storage = await openStorage({ engine: 'memory', clock })
  let follower: ((change: object) => void) | undefined
  const memberships = {
    follow: (told: (change: object) => void) => {
      follower = told
      return () => {
        follower = undefined
      }
    },
  }
  const needs = {
    records: storage.records,
    scheduler: clock,
    table: new ConnectionTable({ get: async () => undefined }),
  }
  const peers = new Peers({ ...needs, cluster: ending, memberships, run: 'n1/a' } as unknown as PeersNeeds)
  const heard: unknown[] = []
  other.bus.subscribe('m/im/bob', message => heard.push(JSON.parse(message.toString())))
  await peers.close(true)
  // A request that was under way: it is finished before the storage is closed.
  follower?.({ app: IM, conversation: 'g:ops', seq: 3, joined: ['bob'] })
  await turn()
  assert.deepEqual(heard, [{ joined: 'g:ops', seq: 3 }])
})
