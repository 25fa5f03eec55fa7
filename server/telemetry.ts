/** What happened, told once: the log line and the metric together. Bodies and secrets are in neither. Nothing here throws. */
import { pino } from 'pino'
import { collectDefaultMetrics } from 'prom-client'
import type { HttpObserver } from '../api/app.ts'
import type { BrokerGauges, BrokerObserver } from '../broker/broker.ts'
import type { Caller } from '../core/caller.ts'
import type { Observer } from '../core/run.ts'
import type { Fault } from '../protocol/faults.ts'
import type { OperationName } from '../protocol/operations.ts'
import type { HostFigures, OpenedCluster, StorageObserver, StorageRequest } from '../storage/open.ts'
import type { Config } from './config.ts'
import { clusterMetrics } from './telemetry/cluster.ts'
import { diskMetrics, healthMetrics } from './telemetry/health.ts'
import { Meters } from './telemetry/meters.ts'
import { processMetrics } from './telemetry/process.ts'
import { Requests } from './telemetry/requests.ts'
import { ringMetrics } from './telemetry/ring.ts'

const SENDS: ReadonlySet<OperationName> = new Set([
  'sendMessage',
  'sendMessageToUser',
  'sendAlert',
  'sendCommand',
  'sendResult',
])
/** Settings that some metrics go by; those are absent without. */
type About = Pick<Config, 'logLevel'> & Partial<Config>

export class Telemetry implements Observer, BrokerObserver, StorageObserver, HttpObserver {
  readonly log
  readonly #meters = new Meters()
  /** Set when the broker is there. */
  gauges: () => BrokerGauges = () => ({ connections: 0, behind: 0, lag: 0, inFlight: 0, unanswered: 0 })

  /** Rejects while messages cannot be stored; set when the storage is there. */
  ready: () => Promise<void> = () => Promise.reject(new Error('The server is starting.'))

  constructor({ logLevel, storage, tlsCertificate, dataDirectory, diskLowWaterMiB = 0 }: About) {
    this.log = pino(
      { level: logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime },
      pino.destination({ dest: 2, sync: true }),
    )
    // Event-loop delay, CPU and memory are among these.
    collectDefaultMetrics({ register: this.#meters.registry })
    processMetrics(this.#meters, { tlsCertificate })
    healthMetrics(this.#meters, () => this.ready())
    if (storage === 'level' && dataDirectory !== undefined)
      diskMetrics(this.#meters, { dataDirectory, diskLowWaterMiB })
    if (storage !== undefined) this.#asked.begin(storage)
    this.#meters.add(() => this.#asked.print())
    for (const name of Object.keys(GAUGES) as (keyof BrokerGauges)[])
      this.#meters.gauge(...GAUGES[name], () => this.gauges()[name])
  }

  metrics(): Promise<{ contentType: string; body: string }> {
    return this.#meters.print()
  }

  // ---- operations ----

  readonly #operations = this.#meters.counter(
    'im_operations_total',
    'Operations, by name and by the fault that refused them.',
    ['operation', 'fault'],
  )
  readonly #sends = this.#meters.histogram('im_send_seconds', 'From a send to its entry being durable.')

  ran(operation: OperationName, _caller: Caller, tookMs: number, fault?: Fault): void {
    this.#operations.inc({ operation, fault: fault?.code ?? 'none' })
    if (!fault && SENDS.has(operation)) this.#sends.observe(tookMs / 1000)
    if (fault?.code === 'internal') this.log.error({ operation, err: fault.cause }, 'an operation failed')
    else if (fault && !fault.row.final)
      this.log.warn({ operation, code: fault.code, err: fault.cause }, 'an operation was not possible')
  }

  // ---- storage ----

  readonly #commits = this.#meters.histogram('im_append_seconds', 'A group commit, until it is durable.')
  readonly #rows = this.#meters.counter('im_storage_rows_total', 'Rows written.')
  readonly #transactions = this.#meters.counter('im_storage_transactions_total', 'Appends and record writes committed.')
  readonly #bytes = this.#meters.counter('im_storage_bytes_total', 'Bytes written, keys included.')
  readonly #storageErrors = this.#meters.counter('im_storage_errors_total', 'Batches of writes that failed.')

  readonly #asked = new Requests()

  asked(request: StorageRequest): void {
    this.#asked.count(request)
  }
  ringJoined(hosts: () => HostFigures[]): void {
    ringMetrics(this.#meters, hosts)
    this.#meters.countedBy(
      'im_cassandra_batches_total',
      'Batches of appends to one conversation; refused: another server was first, and it is made anew.',
      'outcome',
      () => this.#races,
    )
  }
  readonly #races = { applied: 0, refused: 0, unknown: 0 }
  raced(outcome: 'applied' | 'refused' | 'unknown'): void {
    this.#races[outcome]++
  }
  committed({ transactions, rows, bytes, tookMs }: Parameters<StorageObserver['committed']>[0]): void {
    this.#commits.observe(tookMs / 1000)
    this.#rows.inc(rows)
    this.#transactions.inc(transactions)
    this.#bytes.inc(bytes)
  }
  writeFailed(err: unknown): void {
    this.#storageErrors.inc()
    this.log.error({ err }, 'a batch of writes failed')
  }
  listenerFailed(err: unknown): void {
    this.log.error({ err }, 'a follower of the log failed')
  }
  tornWrite(torn: Parameters<StorageObserver['tornWrite']>[0]): void {
    this.log.warn(torn, 'the last write of the database is torn or damaged, and was left out')
  }

  // ---- cluster ----

  /** From now on it is told of. */
  joined(cluster: OpenedCluster): void {
    clusterMetrics(this.#meters, cluster)
  }

  // ---- HTTP ----

  readonly #requests = this.#meters.counter('im_http_requests_total', 'HTTP requests, by operation and status.', [
    'route',
    'status',
  ])
  readonly #answers = this.#meters.histogram('im_http_seconds', 'From an HTTP request to its answer.')

  answered(route: string, status: number, tookMs: number): void {
    this.#requests.inc({ route, status })
    this.#answers.observe(tookMs / 1000)
  }

  // ---- broker ----

  readonly #connects = this.#meters.counter('im_connects_total', 'MQTT connections accepted.')
  readonly #refusedConnects = this.#meters.counter('im_connects_refused_total', 'MQTT connections refused, by fault.', [
    'fault',
  ])
  readonly #refusedPublishes = this.#meters.counter(
    'im_publishes_refused_total',
    'Publishes refused or left unanswered, by fault.',
    ['fault'],
  )
  readonly #ended = this.#meters.counter('im_connections_ended_total', 'Connections that the server ended, by fault.', [
    'fault',
  ])
  readonly #delivered = this.#meters.counter('im_deliveries_total', 'Entries that a reader has acknowledged.')
  readonly #stalled = this.#meters.counter('im_pump_stalled_total', 'Pumps that stood still and were started again.')

  connected = (): void => this.#connects.inc()
  disconnected = (): void => {}
  connectRefused = (fault: string): void => this.#refusedConnects.inc({ fault })
  publishRefused = (fault: string): void => this.#refusedPublishes.inc({ fault })
  connectionEnded = (fault: string): void => this.#ended.inc({ fault })
  delivered = (count: number): void => this.#delivered.inc(count)
  pumpStalled = (): void => {
    this.#stalled.inc()
    this.log.warn('a pump stood still and was started again')
  }
  failed = (where: string, err: unknown): void => this.log.error({ where, err }, 'the server failed at a step')
}

const GAUGES: Record<keyof BrokerGauges, [name: string, help: string]> = {
  connections: ['im_connections', 'MQTT connections open.'],
  behind: ['im_pump_behind', 'Conversations with a connected reader that has not had everything.'],
  lag: ['im_pump_lag_entries', 'Entries that are stored and that a connected reader has not been sent.'],
  inFlight: ['im_pump_in_flight', 'Entries sent and not yet acknowledged.'],
  unanswered: ['im_publishes_unanswered', 'Publishes received and not yet answered.'],
}
