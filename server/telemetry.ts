/** What happened, told once: the log line and the metric together. Bodies and secrets are in neither. Nothing here throws. */
import { pino } from 'pino'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { HttpObserver } from '../api/app.ts'
import type { BrokerGauges, BrokerObserver } from '../broker/broker.ts'
import type { Caller } from '../core/caller.ts'
import type { Observer } from '../core/run.ts'
import type { Fault } from '../protocol/faults.ts'
import type { OperationName } from '../protocol/operations.ts'
import type { StorageObserver } from '../storage/open.ts'
import type { Config } from './config.ts'

const SENDS: ReadonlySet<OperationName> = new Set([
  'sendMessage',
  'sendMessageToUser',
  'sendAlert',
  'sendCommand',
  'sendResult',
])
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5]

export class Telemetry implements Observer, BrokerObserver, StorageObserver, HttpObserver {
  readonly log
  readonly #registry = new Registry()
  /** Set when the broker is there. */
  gauges: () => BrokerGauges = () => ({ connections: 0, behind: 0, lag: 0, inFlight: 0, unanswered: 0 })

  constructor({ logLevel }: Pick<Config, 'logLevel'>) {
    this.log = pino(
      { level: logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime },
      pino.destination({ dest: 2, sync: true }),
    )
    // Event-loop delay, CPU and memory are among these.
    collectDefaultMetrics({ register: this.#registry })
    for (const name of ['connections', 'behind', 'lag', 'inFlight', 'unanswered'] as const) this.#gauge(name)
  }

  async metrics(): Promise<{ contentType: string; body: string }> {
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() }
  }

  #gauge(name: keyof BrokerGauges): void {
    const [metric, help] = GAUGES[name]
    const telemetry = this
    new Gauge({
      name: metric,
      help,
      registers: [this.#registry],
      collect() {
        this.set(telemetry.gauges()[name])
      },
    })
  }
  #counter = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Counter({ name, help, labelNames, registers: [this.#registry] })
  #histogram = <L extends string>(name: string, help: string, buckets: number[], labelNames: L[] = []) =>
    new Histogram({ name, help, buckets, labelNames, registers: [this.#registry] })

  // ---- operations ----

  readonly #operations = this.#counter(
    'im_operations_total',
    'Operations, by name and by the fault that refused them.',
    ['operation', 'fault'],
  )
  readonly #sends = this.#histogram('im_send_seconds', 'From a send to its entry being durable.', SECONDS)

  ran(operation: OperationName, _caller: Caller, tookMs: number, fault?: Fault): void {
    this.#operations.inc({ operation, fault: fault?.code ?? 'none' })
    if (!fault && SENDS.has(operation)) this.#sends.observe(tookMs / 1000)
    if (fault?.code === 'internal') this.log.error({ operation, err: fault.cause }, 'an operation failed')
    else if (fault && !fault.row.final)
      this.log.warn({ operation, code: fault.code, err: fault.cause }, 'an operation was not possible')
  }

  // ---- storage ----

  readonly #commits = this.#histogram('im_append_seconds', 'A group commit, until it is durable.', SECONDS)
  readonly #rows = this.#counter('im_storage_rows_total', 'Rows written.')
  readonly #transactions = this.#counter('im_storage_transactions_total', 'Appends and record writes committed.')
  readonly #bytes = this.#counter('im_storage_bytes_total', 'Bytes written, keys included.')
  readonly #storageErrors = this.#counter('im_storage_errors_total', 'Batches of writes that failed.')

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

  // ---- HTTP ----

  readonly #requests = this.#counter('im_http_requests_total', 'HTTP requests, by operation and status.', [
    'route',
    'status',
  ])
  readonly #answers = this.#histogram('im_http_seconds', 'From an HTTP request to its answer.', SECONDS)

  answered(route: string, status: number, tookMs: number): void {
    this.#requests.inc({ route, status })
    this.#answers.observe(tookMs / 1000)
  }

  // ---- broker ----

  readonly #connects = this.#counter('im_connects_total', 'MQTT connections accepted.')
  readonly #refusedConnects = this.#counter('im_connects_refused_total', 'MQTT connections refused, by fault.', [
    'fault',
  ])
  readonly #refusedPublishes = this.#counter(
    'im_publishes_refused_total',
    'Publishes refused or left unanswered, by fault.',
    ['fault'],
  )
  readonly #ended = this.#counter('im_connections_ended_total', 'Connections that the server ended, by fault.', [
    'fault',
  ])
  readonly #delivered = this.#counter('im_deliveries_total', 'Entries that a reader has acknowledged.')
  readonly #stalled = this.#counter('im_pump_stalled_total', 'Pumps that stood still and were started again.')

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
