/** kill -9 under load from stock clients: what they did and saw is written down, and the checker finds nothing in it. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as after } from 'node:timers/promises'
import { check } from './checker/check.ts'
import { readHistory } from './checker/file.ts'
import { VERDICTS } from './checker/history.ts'
import { Letters } from './crash/letters.ts'
import { Recorder } from './crash/recorder.ts'
import { MosquittoSub, MqttJs, mosquittoPub } from './crash/stock-clients.ts'
import { WireReader, WireSender } from './crash/wire-clients.ts'
import type { Person } from './support/person.ts'
import { Chance, figures, scale, seedOfRun } from './support/proof.ts'
import { absent, TestServer } from './support/server.ts'

/** `CRASHES=1000 ACKNOWLEDGED=1000000` is the long run. */
const CRASHES = scale('CRASHES', 100)
const ACKNOWLEDGED = scale('ACKNOWLEDGED', 50_000)
const SEED = seedOfRun()
const REPLAY = `SEED=${SEED} CRASHES=${CRASHES} ACKNOWLEDGED=${ACKNOWLEDGED} node --test dist/test/crash.test.js`

const GROUP = 'g:ops'
const PAIRS = ['u:alice:bob', 'u:alice:carol', 'u:bob:dave']
const USERS = ['alice', 'bob', 'carol', 'dave', 'erin'] as const
type People = Record<(typeof USERS)[number], Person>
/** Kills after which everyone gets all that there is by then, so that a slow reader is not behind without bound in the end. */
const CATCH_UP = 50
/** Unacknowledged at once; the server knows as many again. */
const IN_FLIGHT = 40
/** How long what is acknowledged may take to reach everyone once nothing breaks any more. */
const SETTLE_MS = 60_000

const withoutMosquitto = (await absent('mosquitto_pub')) || (await absent('mosquitto_sub'))

test(`${CRASHES} times kill -9 under load loses, doubles, reorders and skips nothing`, {
  timeout: 60_000 + CRASHES * 10_000,
}, async t => {
  const start = performance.now()
  const dir = mkdtempSync(join(tmpdir(), 'im-crash-'))
  const run = new CrashRun(t, new Recorder(join(dir, 'history.ndjson')))
  await run.begin()
  for (let crash = 0; crash < CRASHES; crash++) await run.crash(crash)
  await run.settle()

  const { recorder } = run
  const found = check(readHistory(recorder.path), { settleMs: 0, resendsInOrder: true })
  const counts = VERDICTS.map(verdict => [verdict, found.filter(one => one.verdict === verdict).length])
  figures(t, {
    kills: CRASHES,
    acknowledged: recorder.acknowledged,
    received: recorder.received,
    ...Object.fromEntries(counts),
    seconds: Math.round((performance.now() - start) / 1000),
  })
  const all = [...found.map(({ verdict, says }) => `${verdict}: ${says}`), ...recorder.problems]
  assert.deepEqual(all.slice(0, 20), [], `${all.length} in all; the history is ${recorder.path}; replay: ${REPLAY}`)
  rmSync(dir, { recursive: true })
  assert.ok(recorder.acknowledged >= ACKNOWLEDGED, `only ${recorder.acknowledged} were acknowledged`)
})

class CrashRun {
  readonly recorder: Recorder
  readonly #t: TestContext
  readonly #chance = new Chance(SEED)
  #server: TestServer | undefined
  #senders: WireSender[] = []
  #readers: WireReader[] = []
  #scripts: MqttJs[] = []
  #tool: MosquittoSub | undefined
  #people: People | undefined
  /** Letters sent by mosquitto_pub that are under way. */
  readonly #posted = new Set<Promise<void>>()

  constructor(t: TestContext, recorder: Recorder) {
    this.recorder = recorder
    this.#t = t
  }

  async begin(): Promise<void> {
    // Stock clients come back to the port they know.
    const server = await TestServer.start(this.#t, { IM_MQTT_PORT: String(await quietPort()) })
    this.#server = server
    const people = await server.people(...USERS)
    this.#people = people
    const { alice, bob, carol, dave, erin } = people
    await alice.group('ops', bob, carol, dave, erin)
    this.#t.after(() => this.end())

    const { recorder } = this
    const reader = (person: Person, name: string, version: 4 | 5, ackEvery: number) =>
      new WireReader({ recorder, person, name, version }, ackEvery)
    this.#readers = [
      reader(erin, 'erin-away', 5, 1),
      reader(alice, 'alice-phone', 4, 1),
      reader(bob, 'bob-phone', 5, 60),
      reader(carol, 'carol-phone', 4, 25),
    ]
    await Promise.all(this.#readers.map(one => one.connect()))
    const script = (person: Person, name: string, version: 4 | 5, qos: 1 | 2, ...peers: string[]) =>
      // mqtt.js sends again without DUP: at QoS 1 a message is then known by its clientMessageId only.
      new MqttJs(
        recorder,
        person,
        { name, version, qos, inFlight: 10 },
        this.#letters(name, person, peers, qos === 1 ? 1 : 0),
      )
    this.#scripts = [
      script(dave, 'dave-js', 4, 1, GROUP, 'bob'),
      script(bob, 'bob-js', 5, 1, GROUP, 'alice', 'dave'),
      script(carol, 'carol-js', 5, 2, GROUP, 'alice'),
    ]
    if (!withoutMosquitto) this.#tool = new MosquittoSub(recorder, dave)
    await this.#tool?.subscribed

    this.#senders = [alice, bob, carol, dave].flatMap((person, i) =>
      ([4, 5] as const).map(version => {
        const name = `s${2 * i + version - 4}`
        const peers = PAIRS.flatMap(pair => pair.split(':').slice(1)).filter((_, at, list) => {
          const other = list[at % 2 === 0 ? at + 1 : at - 1]
          return other === person.user
        })
        return new WireSender(
          { recorder, person, name, version },
          this.#letters(name, person, [GROUP, ...peers]),
          IN_FLIGHT,
        )
      }),
    )
    for (const sender of this.#senders) sender.connect()
  }

  #letters(name: string, { user }: Person, peers: readonly string[], named?: number): Letters {
    return new Letters(name, user, peers, new Chance(this.#chance.below(2 ** 32)), named)
  }

  /** Some load, a kill at a random moment of it, and everyone back. */
  async crash(count: number): Promise<void> {
    const { recorder } = this
    const chance = this.#chance
    const { alice } = this.#people as People
    if (!withoutMosquitto) {
      const name = `pub${count}`
      const posted = mosquittoPub(recorder, alice, name, this.#letters(name, alice, [GROUP, 'bob']).next())
      this.#posted.add(posted)
      void posted.then(() => this.#posted.delete(posted))
    }
    const load = Math.ceil((2 * (ACKNOWLEDGED - recorder.acknowledged)) / (CRASHES - count))
    const from = recorder.acknowledged
    const goal = from + chance.below(Math.max(load, 2))
    const cut = chance.happens(0.5) ? chance.of(this.#readers) : undefined
    if (cut?.connected) {
      await recorder.until(() => recorder.acknowledged >= from + (goal - from) / 2)
      cut.cut()
      void cut.connect()
    }
    await recorder.until(() => recorder.acknowledged >= goal)
    await after(chance.below(10))
    if (count % CATCH_UP === CATCH_UP - 1) await this.#pause()
    await this.#kill(count)
  }

  async #kill(count: number): Promise<void> {
    const { recorder } = this
    recorder.add({ do: 'fault', at: recorder.now(), what: 'crash', begins: true })
    await this.#server?.kill()
    await this.#server?.start()
    recorder.add({ do: 'fault', at: recorder.now(), what: 'crash' })
    const [away, ...others] = this.#readers
    // One session is away most of the time.
    for (const reader of count % 5 === 0 && away ? [away, ...others] : others) void reader.connect()
    for (const sender of this.#senders) sender.connect()
  }

  /** Everything under way is acknowledged, and everyone gets what is theirs, or a minute is over. */
  async settle(): Promise<void> {
    const { recorder } = this
    await recorder.until(() => recorder.acknowledged >= ACKNOWLEDGED)
    const senders = [...this.#senders, ...this.#scripts]
    for (const sender of senders) sender.stop()
    await recorder.until(() => senders.every(({ idle }) => idle))
    await Promise.all(this.#posted)
    const patience = new AbortController()
    const over = after(SETTLE_MS, undefined, { signal: patience.signal }).catch(() => {})
    await Promise.race([this.#caughtUp(), over])
    patience.abort()

    const people = this.#people as People
    await recorder.log(people.alice, GROUP)
    for (const id of PAIRS) await recorder.log(people[id.split(':')[1] as keyof People], id)
    recorder.close()
    await this.end()
  }

  /** Nothing new is said until everyone has what was. */
  async #pause(): Promise<void> {
    const senders = [...this.#senders, ...this.#scripts]
    for (const sender of senders) sender.stop()
    await this.#caughtUp()
    for (const sender of senders) sender.goOn()
  }

  /** Everyone has what is stored now. */
  async #caughtUp(): Promise<void> {
    const { recorder } = this
    for (const reader of this.#readers) if (!reader.connected) await reader.connect()
    const people = this.#people as People
    const tails = new Map<string, number>()
    const tail = async (id: string, person: Person) => {
      const { body } = await person.api('GET', `/conversations/${id}/messages?limit=1`)
      tails.set(id, (body as { items: { seq: number }[] }).items.at(-1)?.seq ?? 0)
    }
    await tail(GROUP, people.alice)
    for (const id of PAIRS) await tail(id, people[id.split(':')[1] as keyof People])
    const sessions = [...this.#readers, ...this.#scripts, ...(this.#tool ? [this.#tool] : [])]
    const hasAll = sessions.flatMap(({ name, user }) =>
      [...tails]
        .filter(([id]) => id === GROUP || id.split(':').includes(user))
        .map(
          ([id, seq]) =>
            () =>
              recorder.has(name, id, seq),
        ),
    )
    await recorder.until(() => hasAll.every(has => has()))
  }

  async end(): Promise<void> {
    for (const sender of this.#senders) sender.end()
    for (const reader of this.#readers) reader.cut()
    await Promise.all([...this.#scripts.map(script => script.end()), this.#tool?.end()])
    this.#scripts = []
  }
}

/** A free port below those that the system gives to connections, so that none takes it while the server is dead. */
async function quietPort(): Promise<number> {
  for (let port = 20_000 + (process.pid % 10_000); ; port++) {
    const isFree = await new Promise<boolean>(resolve => {
      const probe = createServer()
      probe.on('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
    })
    if (isFree) return port
  }
}
