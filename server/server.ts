/** Puts everything together, and takes it apart in reverse. */
import { hostname } from 'node:os'
import { type AddressOf, addresses, asyncapi, createApi, openapi } from '../api/app.ts'
import { type Broker, createBroker, readProxyHeader } from '../broker/broker.ts'
import { type Core, createCore } from '../core/features.ts'
import type { Cluster, Connections, Random, Scheduler, Storage, Throttle } from '../core/ports.ts'
import { type OpenedCluster, openCluster, openStorage } from '../storage/open.ts'
import type { Config } from './config.ts'
import { openControl } from './control.ts'
import { keyspace, redisAccess } from './keyspace.ts'
import { type Listeners, listen } from './listeners.ts'
import * as machine from './machine.ts'
import { perform } from './operator.ts'
import { ensureOwner } from './owner.ts'
import { passwords } from './passwords.ts'
import { Telemetry } from './telemetry.ts'
import { noThrottle, throttle } from './throttle.ts'
import { openTokens } from './tokens.ts'
import { VERSION } from './version.ts'

export interface Server extends AsyncDisposable {
  /** Ports that it listens on. */
  ports: Listeners['ports']
  telemetry: Telemetry
}

/** What a test or a simulation brings instead of the real part. */
export interface Overrides {
  storage: Storage
  scheduler: Scheduler
  random: Random
  throttle: Throttle
}

/** Life of an access token and of a refresh token. */
const ACCESS_TOKEN_MS = 3_600_000
const REFRESH_TOKEN_MS = 30 * 86_400_000
const DAY_SECONDS = 86_400
/** Personal keys of one account. */
const MAX_KEYS = 100

export async function createServer(config: Config, overrides: Partial<Overrides> = {}): Promise<Server> {
  const telemetry = new Telemetry(config)
  const parts = new Parts()
  try {
    const cluster = await join(config, telemetry)
    if (cluster) parts.add(() => cluster[Symbol.asyncDispose]())
    if (cluster) telemetry.joined(cluster)
    const storage = overrides.storage ?? (await open(config, telemetry, cluster))
    parts.add(() => storage[Symbol.asyncDispose]())
    telemetry.ready = () => storage.ready()
    const connections = new Relay()
    const core = await openCore(config, storage, connections, telemetry, cluster, overrides)
    parts.add(() => core[Symbol.asyncDispose]())
    await ensureOwner(core, config, telemetry.log)
    if (config.storage === 'level' && !overrides.storage)
      parts.add(await openControl(config.dataDirectory, (...wish) => perform(core.operator, ...wish), telemetry.log))
    const broker = await openBroker(config, storage, core, telemetry, cluster, overrides)
    let closed: Promise<void> | undefined
    const closeBroker = () => {
      closed ??= broker.close()
      return closed
    }
    parts.add(closeBroker)
    connections.to = broker.connections
    telemetry.gauges = () => broker.gauges()
    const addressOf = addresses(config.trustedProxies)
    const listeners = await listen({
      config,
      http: api(config, storage, core, telemetry, addressOf),
      addressOf,
      mqtt: broker.handle.bind(broker),
      proxyHeader: config.proxyProtocol ? readProxyHeader : undefined,
    })
    parts.add(() => listeners.close())
    // Who is connected is told why before the sockets go.
    parts.add(closeBroker)
    parts.add(() => listeners.stopAccepting())
    return { ports: listeners.ports, telemetry, [Symbol.asyncDispose]: () => parts.close() }
  } catch (cause) {
    await parts.close()
    throw cause
  }
}

/** Closes what was opened, the last one first; each is closed although one before failed. */
class Parts {
  readonly #closers: (() => unknown)[] = []
  add(close: () => unknown): void {
    this.#closers.push(close)
  }
  async close(): Promise<void> {
    const failures: unknown[] = []
    for (const close of this.#closers.splice(0).reverse()) {
      try {
        await close()
      } catch (failure) {
        failures.push(failure)
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'the server did not close cleanly')
  }
}

/** The other servers, where there may be some. */
async function join(config: Config, { log }: Telemetry): Promise<OpenedCluster | undefined> {
  const access = redisAccess(config)
  if (!access) return undefined
  return openCluster({
    ...access,
    node: config.node ?? hostname(),
    tell: ({ state, ...told }) => log[state === 'away' ? 'warn' : 'info'](told, `Redis is ${state}`),
  })
}

function open(config: Config, observer: Telemetry, cluster: OpenedCluster | undefined): Promise<Storage> {
  const clock = machine.scheduler
  if (config.storage === 'memory') return openStorage({ engine: 'memory', clock, observer })
  if (config.storage === 'cassandra')
    return openStorage({ engine: 'cassandra', ...keyspace(config), clock, observer, cluster })
  const lowWaterBytes = config.diskLowWaterMiB * 1024 * 1024
  return openStorage({
    engine: 'level',
    directory: config.dataDirectory,
    fsync: config.fsync,
    lowWaterBytes,
    clock,
    observer,
  })
}

async function openCore(
  config: Config,
  { log, records }: Storage,
  connections: Connections,
  observer: Telemetry,
  cluster: OpenedCluster | undefined,
  overrides: Partial<Overrides>,
): Promise<Core> {
  const { scheduler = machine.scheduler, random = machine.random } = overrides
  return createCore({
    log,
    records,
    scheduler,
    random,
    passwords: passwords(),
    tokens: await openTokens({ records, scheduler, random }),
    throttle: overrides.throttle ?? (config.rateLimits ? throttle(undefined, cluster?.counters) : noThrottle),
    connections,
    observer,
    settings: {
      registration: config.registration,
      retentionMs: config.retentionDays * DAY_SECONDS * 1000,
      recallWindowMs: config.recallWindowSeconds * 1000,
      accessTokenMs: ACCESS_TOKEN_MS,
      refreshTokenMs: REFRESH_TOKEN_MS,
      maxKeys: MAX_KEYS,
    },
  })
}

function openBroker(
  config: Config,
  { log, records }: Storage,
  core: Core,
  observer: Telemetry,
  cluster: Cluster | undefined,
  overrides: Partial<Overrides>,
): Promise<Broker> {
  const { scheduler = machine.scheduler, random = machine.random } = overrides
  const { run, gatekeeper, memberships, marks, retained } = core
  return createBroker({
    run,
    gatekeeper,
    memberships,
    marks,
    retained,
    log,
    records,
    scheduler,
    random,
    observer,
    cluster,
    options: {
      windowMessages: config.windowMessages,
      windowBytes: config.windowBytes,
      connectionsPerUser: config.connectionsPerUser,
      sessionExpirySeconds: config.sessionExpiryDays * DAY_SECONDS,
      publishesPerSecond: config.rateLimits ? 2_000 : Number.POSITIVE_INFINITY,
      answerMs: 15_000,
      stalledMs: 120_000,
    },
  })
}

function api(
  config: Config,
  storage: Storage,
  { run, gatekeeper, idempotency }: Core,
  telemetry: Telemetry,
  addressOf: AddressOf,
) {
  return createApi({
    run,
    gatekeeper,
    idempotency,
    ready: () => storage.ready(),
    metrics: () => telemetry.metrics(),
    metricsToken: config.metricsToken,
    addressOf,
    corsOrigins: config.corsOrigins,
    openapi: openapi(VERSION),
    asyncapi: asyncapi(VERSION),
    observer: telemetry,
    now: () => performance.now(),
  })
}

/** The rules tell connections of what happens; the broker, which needs the rules, comes after them. */
class Relay implements Connections {
  to: Connections | undefined

  tell: Connections['tell'] = (...told) => this.to?.tell(...told)
  retained: Connections['retained'] = (...told) => this.to?.retained(...told)
  end: Connections['end'] = (...told) => this.to?.end(...told)
}
