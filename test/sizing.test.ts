/** The sizing document holds what its script prints, and the model behaves as what it models would. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { ROOT } from '../server/documents.ts'

interface Sized {
  connected: number
  perSecond: number
  servers: { count: number; cores: number; gib: number; followed: number }
  cassandra: { nodes: number; cores: number; tb: number }
  redis: { cores: number; commands: number; gib: number; clusters: number }
  network: { clients: number; inside: number }
}
interface Script {
  COSTS: Record<string, [value: number, says: string, by: string]>
  DEFAULTS: Record<string, number>
  model(given?: Record<string, number>): Sized
  written(document: string): string
}
const PROGRAM = join(ROOT, 'docs/sizing.mjs')
const { COSTS, DEFAULTS, model, written } = (await import(pathToFileURL(PROGRAM).href)) as Script

const isAbout = (value: number, expected: number, within = 0.001) =>
  assert.ok(Math.abs(value / expected - 1) <= within, `${value} is not about ${expected}`)
const LARGE = { users: 5_000_000 }

test('the document holds what the script prints', () => {
  const document = readFileSync(join(ROOT, 'docs/sizing.md'), 'utf8')
  assert.equal(document, written(document), 'docs/sizing.md is not current: run node docs/sizing.mjs --write')
})

test('every cost is a number above nothing that a command measures', () => {
  for (const [name, [value, says, by]] of Object.entries(COSTS)) assert.ok(value > 0 && says && by, name)
})

test('twice the people are twice the work, and no more than a little above where servers hear more of each other', () => {
  const [once, twice] = [model(LARGE), model({ users: 2 * LARGE.users })]
  for (const of of [
    (it: Sized) => it.connected,
    (it: Sized) => it.perSecond,
    (it: Sized) => it.cassandra.tb,
    (it: Sized) => it.redis.commands,
    (it: Sized) => it.network.clients,
    (it: Sized) => it.network.inside,
  ])
    isAbout(of(twice), 2 * of(once))
  for (const of of [
    (it: Sized) => it.servers.cores,
    (it: Sized) => it.servers.count - 1,
    (it: Sized) => it.cassandra.cores,
    (it: Sized) => it.redis.cores,
    (it: Sized) => it.redis.gib,
  ])
    isAbout(of(twice), 2 * of(once), 0.1)
})

test('what is kept twice as long, or in twice as many copies, takes twice the disk', () => {
  const { tb } = model(LARGE).cassandra
  isAbout(model({ ...LARGE, days: 730 }).cassandra.tb, 2 * tb)
  isAbout(model({ ...LARGE, replication: 6 }).cassandra.tb, 2 * tb)
})

test('more of anything never needs less', () => {
  const grows = [
    'users',
    'online',
    'messages',
    'peak',
    'members',
    'group-share',
    'connects',
    'text',
    'days',
    'replication',
  ]
  const before = model(LARGE)
  const sizes = ({ servers, cassandra, redis, network }: Sized) => [
    ...[servers.count, servers.cores, cassandra.nodes, cassandra.cores, cassandra.tb],
    ...[redis.cores, redis.commands, network.clients, network.inside],
  ]
  for (const name of grows) {
    const after = sizes(model({ ...LARGE, [name]: 1.5 * (DEFAULTS[name] ?? 0) * (name === 'users' ? 100 : 1) }))
    assert.ok(
      sizes(before).every((size, nth) => (after[nth] ?? 0) >= size * 0.999),
      `${name}: ${sizes(before)} became ${after}`,
    )
  }
})

test('the fewest servers are two and one to spare, and the fewest nodes one for each copy', () => {
  const { servers, cassandra } = model({ users: 100 })
  assert.deepEqual([servers.count, cassandra.nodes], [3, 3])
})

test('every server has the processor and the connections that it needs, and one fewer would not do', () => {
  for (const users of [50_000, 700_000, 5_000_000, 50_000_000]) {
    const { servers, connected } = model({ users })
    const working = servers.count - 1
    const limits = [2, connected / 20_000, servers.cores / 0.5]
    assert.ok(
      limits.every(limit => working >= limit),
      `${working} of ${limits}`,
    )
    // Each server more is heard by the others, so the answer may lie one in a hundred above the least.
    assert.ok(working - 1 - working / 100 < Math.max(...limits), `${working} of ${limits}`)
  }
})

test('the script sizes numbers of a reader, and refuses what is no number', () => {
  const run = (...words: string[]) => spawnSync(process.execPath, [PROGRAM, ...words], { encoding: 'utf8' })
  const { status, stdout } = run('--users', '1000', '--replication', '5')
  assert.equal(status, 0)
  assert.match(stdout, /^\| \*\*nodes of Cassandra\*\* \| 5 \|$/m)
  assert.match(run('--help').stdout, /`--members` \| 20 \|/)
  const refused = run('--users', 'many')
  assert.deepEqual([refused.status, refused.stderr], [2, '--users takes a number above 0\n'])
})

test('one cluster ends where its Redis does', () => {
  const [below, above] = [LARGE.users, 3 * LARGE.users].map(users => model({ users }).redis) as [
    Sized['redis'],
    Sized['redis'],
  ]
  assert.ok(below.cores <= 0.5 && above.cores > 0.5)
  assert.deepEqual([below.clusters, above.clusters], [1, 2])
})
