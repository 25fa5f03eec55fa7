/** Where in a Cluster to connect to next: the nodes of the address first, later also those that the Cluster has. */
import type { Redis } from 'ioredis'
import type { Address, HostPort } from './url.ts'

const MAX_PLACES = 100

export class Places {
  readonly #seeds: HostPort[]
  #known: HostPort[]
  #turn = Math.floor(Math.random() * MAX_PLACES)

  constructor(address: Address) {
    this.#seeds = address.kind === 'cluster' ? address.seeds : []
    this.#known = this.#seeds
  }

  /** Another than the one before; `undefined` where the address has but one place. */
  next(): HostPort | undefined {
    return this.#known[this.#turn++ % this.#known.length]
  }

  async learn(redis: Redis): Promise<void> {
    if (this.#seeds.length === 0) return
    const slots = await redis.cluster('SLOTS')
    const found = slots.flatMap(([, , ...nodes]) => nodes.map(([host, port]) => ({ host, port })))
    // A node that does not know its own address yet has none to tell.
    const all = [...this.#seeds, ...found.filter(({ host }) => Boolean(host))]
    this.#known = [...new Map(all.map(place => [`${place.host} ${place.port}`, place])).values()].slice(0, MAX_PLACES)
  }
}
