/** How metrics are made: all in one registry, which `GET /metrics` prints. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** Upper ends of the buckets of every histogram of ours, in seconds. */
export const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5]

type Value = number | undefined

export class Meters {
  readonly registry = new Registry()
  readonly #printers: (() => string)[] = []

  counter<L extends string>(name: string, help: string, labelNames: L[] = []): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.registry] })
  }

  /** Whose count is kept elsewhere, and only goes up. */
  counted(name: string, help: string, count: () => number): void {
    new Counter({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.reset()
        this.inc(count())
      },
    })
  }
  countedBy<L extends string>(name: string, help: string, label: L, counts: () => Record<string, number>): void {
    new Counter({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        this.reset()
        for (const [of, count] of Object.entries(counts())) this.inc({ [label]: of } as Record<L, string>, count)
      },
    })
  }

  histogram<L extends string>(name: string, help: string, labelNames: L[] = []): Histogram<L> {
    return new Histogram({ name, help, buckets: SECONDS, labelNames, registers: [this.registry] })
  }

  /** Asked for its value whenever somebody looks; without one, or when it cannot be had, the gauge is absent. */
  gauge(name: string, help: string, value: () => Value | Promise<Value>): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      async collect() {
        const now = await Promise.resolve()
          .then(value)
          .catch(() => undefined)
        if (now === undefined) this.remove()
        else this.set(now)
      },
    })
  }

  /** One value for each of what there is when somebody looks. */
  gauges<L extends string>(name: string, help: string, label: L, values: () => Iterable<[string, number]>): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        this.reset()
        for (const [of, value] of values()) this.set({ [label]: of } as Record<L, string>, value)
      },
    })
  }

  /** Metrics that print themselves, in the format of Prometheus. */
  add(print: () => string): void {
    this.#printers.push(print)
  }

  async print(): Promise<{ contentType: string; body: string }> {
    const body = [await this.registry.metrics(), ...this.#printers.map(print => print())].join('\n')
    return { contentType: this.registry.contentType, body }
  }
}
