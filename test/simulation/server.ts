/** The server as it is, from the storage engine up to MQTT's bytes, on a disk and a clock of the run: two nodes that share one log. */
import type { Duplex } from 'node:stream'
import { type Broker, createBroker } from '../../broker/broker.ts'
import { type Core, createCore } from '../../core/features.ts'
import type { Connections, Random, Scheduler, Storage } from '../../core/ports.ts'
import { Fault } from '../../protocol/faults.ts'
import type { Level } from '../../storage/level/engine.ts'
import { openOver } from '../../storage/level/open.ts'
import type { Chance } from '../support/proof.ts'
import type { Disk } from './disk.ts'
import type { Life } from './turns.ts'

export interface ServerOptions {
  windowMessages: number
  windowBytes: number
}
interface Needs {
  disk: Disk
  life: Life
  chance: Chance
  options: ServerOptions
  /** A mistake of the server that no fault of the run explains. */
  failed(where: string, error: unknown): void
}

const NODES = 2
const LATE_MS = 5_000
const HOUR = 3_600_000

export interface SimulatedServer {
  core: Core
  storage: Storage
  take(node: number, stream: Duplex): void
  /** Ends it as SIGTERM does. */
  stop(): Promise<void>
}

export async function start(needs: Needs): Promise<SimulatedServer> {
  const { disk, life, chance } = needs
  const random: Random = { bytes: count => Uint8Array.from({ length: count }, () => chance.below(256)) }
  const level: Level = await disk.open(life)
  const storage = await openOver(level, {
    clock: life,
    fsync: true,
    lowWaterBytes: 0,
    free: async () => Number.POSITIVE_INFINITY,
    soon: run => life.soon(run),
    random,
    observer: { listenerFailed: cause => isExpected(cause) || needs.failed('listener', cause) },
  })
  const brokers: Broker[] = []
  const core = await openCore(storage, life, random, everyNode(brokers))
  for (let node = 0; node < NODES; node++) brokers.push(await openBroker(needs, storage, core, random))
  return {
    core,
    storage,
    take: (node, stream) => brokers[node]?.handle(stream, { address: '127.0.0.1' }),
    async stop() {
      await Promise.all(brokers.map(broker => broker.close()))
      await core[Symbol.asyncDispose]()
      await storage[Symbol.asyncDispose]()
    },
  }
}

const everyNode = (brokers: readonly Broker[]): Connections => ({
  tell(...told) {
    for (const { connections } of brokers) connections.tell(...told)
  },
  retained(...told) {
    for (const { connections } of brokers) connections.retained(...told)
  },
  end(...told) {
    for (const { connections } of brokers) connections.end(...told)
  },
})

function openCore({ log, records }: Storage, life: Life, random: Random, connections: Connections): Promise<Core> {
  return createCore({
    log,
    records,
    scheduler: life,
    random,
    connections,
    // What is simulated here knows no password and counts no attempts.
    passwords: { hash: async () => '', verify: async () => true },
    tokens: { sign: claims => JSON.stringify(claims), verify: text => JSON.parse(text) },
    throttle: { take: async () => {}, giveBack: async () => {}, forget: async () => {} },
    observer: { ran: () => {} },
    settings: {
      registration: 'open',
      recallWindowMs: HOUR,
      accessTokenMs: 1_000 * HOUR,
      refreshTokenMs: 1_000 * HOUR,
      maxKeys: 10,
    },
  })
}

/** What a disk that fails, or two nodes at once, make of a request. */
const EXPECTED: ReadonlySet<string> = new Set(['log-unavailable', 'conflict', 'session-taken-over', 'shutting-down'])
const isExpected = (error: unknown) => EXPECTED.has(Fault.from(error).code)

/** A node whose process stands still now and then: what it does by the clock comes late, and others have gone on. */
const late = (life: Life, chance: Chance): Scheduler => ({
  now: () => life.now(),
  soon: run => life.soon(run),
  after: (ms, run) => life.after(chance.below(8) === 0 ? ms + chance.below(LATE_MS) : ms, run),
})

const nothing = () => {}
function openBroker(needs: Needs, { log, records }: Storage, core: Core, random: Random): Promise<Broker> {
  const { run, gatekeeper, memberships, marks, retained } = core
  const { life, chance, options } = needs
  return createBroker({
    run,
    gatekeeper,
    memberships,
    marks,
    retained,
    log,
    records,
    scheduler: late(life, chance),
    random,
    observer: {
      connected: nothing,
      disconnected: nothing,
      connectRefused: nothing,
      publishRefused: nothing,
      connectionEnded: nothing,
      delivered: nothing,
      pumpStalled: () => needs.failed('pump', new Error('it stood still')),
      failed: (where, error) => {
        if (!isExpected(error)) needs.failed(where, error)
      },
    },
    options: {
      ...options,
      connectionsPerUser: 50,
      sessionExpirySeconds: 86_400,
      publishesPerSecond: Number.POSITIVE_INFINITY,
      answerMs: 15_000,
      stalledMs: 120_000,
    },
  })
}
