/**
 * Runs every compiled test, each file in a process of its own, and ends with the line `N passed, N failed`.
 * `node test/run.mjs [word …]` runs only the files whose names hold one of the words.
 */
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const compiled = join(root, 'dist/test')
const words = process.argv.slice(2)
/** What is promised of one server is asked of two as well, where there is a Cassandra; the rest of it are the faults. */
const ON_TWO_NODES = new Set([
  ...['sessions', 'membership', 'deduplication', 'stock-clients', 'access', 'malformed'],
  ...['offline', 'window', 'slow-reader', 'idempotency', 'broker-wills', 'conversations', 'receipts'],
  ...['sdk', 'sdk-inbox', 'sdk-outbox', 'sdk-offline'],
])
/** There, as every message goes through Cassandra; who sets them says how large. */
const SMALLER = { CONVERSATIONS: '60', SLOW_TEXTS: '5000', SLOW_LARGE: '500' }
/** Whole clusters, which beside something else would be judged by what the machine has left for them. */
const ALONE = /^(cluster|faults|ring)/
/** A file that is not over by then, or whose process stays, has failed. */
const FILE_MS = Number(process.env.TEST_FILE_MS ?? 1_200_000)

// What was compiled from a test that is gone is not run.
const files = readdirSync(compiled, { recursive: true })
  .filter(name => name.endsWith('.test.js') && existsSync(join(root, 'test', name.replace(/\.js$/, '.ts'))))
  .filter(name => words.length === 0 || words.some(word => name.includes(word)))
  .sort()
  .map(name => join(compiled, name))

// One Cassandra for all files that speak of it; it takes longer to start than most of them.
const { Ending } = await import('../dist/test/support/ends.js')
const ending = new Ending()
const nodes = process.env.CASSANDRA ? undefined : await startCassandra()
if (nodes) process.env.CASSANDRA = nodes.hosts.join(',')

const counts = { passed: 0, failed: 0, skipped: 0 }
/** What failed and why, said once more at the end: the rest of what is printed is long. */
const failures = []
await play(
  files.filter(file => !ALONE.test(basename(file))),
  availableParallelism(),
)
await play(
  files.filter(file => ALONE.test(basename(file))),
  1,
)
if (process.env.CASSANDRA) {
  process.env.NODES = '2'
  for (const [name, value] of Object.entries(SMALLER)) process.env[name] ??= value
  process.stdout.write('\nOn two nodes, with connections to both in turns:\n')
  await play(
    files.filter(file => ON_TWO_NODES.has(basename(file, '.test.js'))),
    availableParallelism(),
  )
}
await ending.end()
const { passed, failed, skipped } = counts
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
for (const failure of failures) process.stdout.write(`\nFailed: ${failure}\n`)
process.stdout.write(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`)

async function play(some, concurrency) {
  if (some.length === 0) return
  const stream = run({ files: some, concurrency, timeout: FILE_MS })
  const isTest = ({ details, name }) => details.type !== 'suite' && !some.includes(name)
  stream.on('test:pass', event => {
    if (isTest(event)) counts[event.skip === undefined && event.todo === undefined ? 'passed' : 'skipped'] += 1
  })
  // A file that failed outside of its tests counts as well.
  stream.on('test:fail', ({ details, name, file }) => {
    if (details.type === 'suite' || details.error?.failureType === 'subtestsFailed') return
    counts.failed += 1
    failures.push(
      `${file ? `${basename(file)}: ` : ''}${name}\n  ${details.error?.cause?.message ?? details.error?.message}`,
    )
  })
  const report = stream.compose(new spec())
  report.pipe(process.stdout, { end: false })
  await once(report, 'end')
}

async function startCassandra() {
  if (!files.some(file => readFileSync(file, 'utf8').includes('support/keyspace.js'))) return undefined
  const [{ CassandraNodes }, { absentJava }] = await Promise.all([
    import('../dist/test/support/cassandra.js'),
    import('../dist/test/support/cassandra/java.js'),
  ])
  // Each file then says that it skips, or why it may not.
  return absentJava() ? undefined : CassandraNodes.start(ending, { heapMiB: 1024 })
}
