/**
 * Files of a data directory that a server lived in, damaged one at a time: a flipped bit, an end cut off, nothing left, or
 * the file gone. It is told at the start or where it is read, or it changes nothing; nothing else is served than before.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Fault } from '../protocol/faults.ts'
import { examine, type Report } from '../server/commands/doctor.ts'
import { CannotOpen } from '../storage/open.ts'
import { endsOf, filesOf, harm, imageOf, lived, open, type Plan, planOf, served } from './support/damage.ts'
import { Chance, figures, scale, seedOfRun } from './support/proof.ts'

const SEED = seedOfRun()
const DAMAGES = scale('DAMAGES', 150)
/** Case to be played alone. */
const ONLY = scale('DAMAGE', -1)

const IM = fileURLToPath(new URL('../server/im.js', import.meta.url))
/** Cases of which the real command is asked. */
const COMMANDS = 9

type Served = Map<string, string>
interface World {
  directory: string
  plan: Plan
  before: Served
  /** What is served where commits at the end are missing that were not to be durable. */
  shorter: Served[]
}
type Outcome = 'detectedAtStart' | 'detectedAtRead' | 'torn' | 'harmless'

test('a damaged file is told, or changes nothing', { timeout: 3_600_000 }, async t => {
  const chance = new Chance(SEED)
  const directory = await lived(t, chance)
  const plan = await planOf(await imageOf(t, directory), chance)
  const before = await readAll(await imageOf(t, directory), plan)
  const world = { directory, plan, before, shorter: await withoutEnd(t, directory, plan) }
  const kinds = new Map<string, { file: string }[]>()
  for (const { file, kind } of filesOf(directory)) kinds.set(kind, [...(kinds.get(kind) ?? []), { file }])
  t.diagnostic([...kinds].map(([kind, files]) => `${kind} ${files.length}`).join(', '))
  const counts = { detectedAtStart: 0, detectedAtRead: 0, torn: 0, harmless: 0 }
  let told = 0
  const byKind: Record<string, Record<string, number>> = {}
  for (let nth = 0; nth < DAMAGES; nth++) {
    const [kind, files] = [...kinds][nth % kinds.size] as [string, { file: string }[]]
    const choice = new Chance(SEED + nth)
    const { file } = choice.of(files)
    const damage = harm(directory, file, choice)
    if (ONLY >= 0 && ONLY !== nth) continue
    try {
      const outcome = await outcomeOf(t, world, file, damage.bytes)
      await checkDoctor(t, world, file, damage.bytes, outcome, told++ < COMMANDS)
      counts[outcome]++
      byKind[kind] = { ...byKind[kind], [outcome]: (byKind[kind]?.[outcome] ?? 0) + 1 }
    } catch (thrown) {
      // A server's files differ a little from run to run: what was damaged stays, so that it can be looked at.
      const kept = await imageOf('kept', directory, file, damage.bytes)
      const replay = `SEED=${SEED} DAMAGES=${nth + 1} DAMAGE=${nth} node --test dist/test/damage.test.js`
      const why = thrown instanceof Error ? thrown.message : String(thrown)
      throw new Error(`${file}, ${damage.how}: ${why}\nreplay: ${replay}\nfiles: ${kept}`, { cause: thrown })
    }
  }
  t.diagnostic(JSON.stringify(byKind))
  figures(t, { damages: DAMAGES, ...counts, silent: 0 })
})

async function readAll(directory: string, plan: Plan): Promise<Served> {
  await using storage = await open(directory)
  return await served(storage, plan)
}

/** What is served without the last commits, as far as that is possible. */
async function withoutEnd(t: TestContext, directory: string, plan: Plan): Promise<Served[]> {
  const { file } = filesOf(directory).findLast(({ kind }) => kind === '*.log') ?? assert.fail('no write-ahead log')
  const log = readFileSync(join(directory, file))
  const shorter: Served[] = []
  for (const end of endsOf(log).reverse()) {
    try {
      shorter.push(await readAll(await imageOf(t, directory, file, log.subarray(0, end)), plan))
    } catch (thrown) {
      assert.ok(thrown instanceof CannotOpen && /^Commits \d+ to \d+/.test(thrown.message), String(thrown))
      t.diagnostic(`commits that may be missing: ${shorter.length}`)
      return shorter
    }
  }
  return assert.fail('all commits may be missing')
}

async function outcomeOf(t: TestContext, world: World, file: string, bytes?: Buffer): Promise<Outcome> {
  const image = await imageOf(t, world.directory, file, bytes)
  const torn: unknown[] = []
  try {
    await using storage = await open(image, { tornWrite: at => torn.push(at) })
    const now = await served(storage, world.plan)
    const changed = differences(world.before, now)
    if (changed.length === 0) return torn.length > 0 ? 'torn' : 'harmless'
    const isShorter = world.shorter.some(shorter => differences(shorter, now).length === 0)
    assert.ok(isShorter, `served and not told: ${changed.join(', ')}`)
    return 'torn'
  } catch (thrown) {
    if (thrown instanceof CannotOpen) return names(thrown.message, 'detectedAtStart')
    if (thrown instanceof Fault && thrown.code === 'log-unavailable')
      return names(String(thrown.cause), 'detectedAtRead')
    throw thrown
  } finally {
    rmSync(image, { recursive: true, force: true })
  }
}

/** The doctor finds what the start found, and nothing where nothing is damaged. */
async function checkDoctor(
  t: TestContext,
  world: World,
  file: string,
  bytes: Buffer | undefined,
  outcome: Outcome,
  asCommand: boolean,
): Promise<void> {
  const image = await imageOf(t, world.directory, file, bytes)
  const before = filesOf(image)
  const environment = { IM_DATA_DIR: image, IM_HTTP_PORT: '0', IM_MQTT_PORT: '0' }
  const report = asCommand ? byCommand(environment) : await examine(environment)
  const found = report.checks.filter(({ check, level }) => check === 'database' && level === 'problem')
  if (outcome === 'detectedAtStart' || outcome === 'detectedAtRead') {
    assert.ok(
      found.length > 0 && found.every(({ todo }) => todo),
      `the doctor finds nothing: ${JSON.stringify(report)}`,
    )
    assert.ok(
      found.some(({ says }) => says.includes(basename(file)) || /^Commits? /.test(says)),
      found[0]?.says,
    )
  } else assert.deepEqual(found, [], 'the doctor finds something in what is served whole')
  assert.deepEqual(filesOf(image), before, 'the doctor leaves the files as they are')
  rmSync(image, { recursive: true, force: true })
}

function byCommand(environment: Record<string, string>): Report {
  const { status, stdout } = spawnSync(process.execPath, [IM, 'doctor', '--json'], { env: { ...environment } })
  const report = JSON.parse(stdout.toString()) as Report
  assert.equal(status, report.ok ? 0 : 1)
  return report
}

/** Whether a message says what is damaged. */
function names(message: string, outcome: Outcome): Outcome {
  assert.match(message, /file \/|log \/|Row "|Commits? \d+|row "/, 'it names what is damaged')
  return outcome
}

const differences = (before: Served, now: Served) =>
  [...before.keys()]
    .filter(name => before.get(name) !== now.get(name))
    .concat([...now.keys()].filter(name => !before.has(name)))
