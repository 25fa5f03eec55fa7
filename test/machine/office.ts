/** Whoever works over REST: takes bob in and out, and sends many messages at once. Also who removes old entries. */
import type { ConversationKey, Tail } from '../../core/ports.ts'
import type { Seq } from '../../protocol/ids.ts'
import { callerOf } from '../simulation/image.ts'
import { GROUP, type Log } from './log.ts'
import type { ServerProcess } from './process.ts'

interface World {
  readonly server: ServerProcess
  readonly log: Log
  until<T>(work: Promise<T>): Promise<T>
  quiet(): Promise<void>
  wrong(what: string): void
}

export class Office {
  readonly #world: World
  removals = 0
  #flooded = 0

  constructor(world: World) {
    this.#world = world
  }

  async change(what: 'add' | 'remove' | 'leave'): Promise<void> {
    const { server, log } = this.#world
    const { core } = server
    const isIn = log.isIn('bob', GROUP)
    if (!core || isIn === (what === 'add')) return
    log.asks(what === 'add' ? 'added' : what === 'remove' ? 'removed' : 'left', 'bob')
    if (what === 'remove') this.removals++
    const group = GROUP.slice(2)
    const by = callerOf(what === 'leave' ? 'bob' : 'alice')
    if (what === 'add') await this.#world.until(core.run('addMembers', by, { group, members: ['bob'] }))
    else await this.#world.until(core.run('removeMember', by, { group, user: 'bob' }))
    if (log.isIn('bob', GROUP) === isIn) this.#world.wrong(`bob is ${isIn ? 'still' : 'not'} in`)
  }

  /** Removes the oldest entries of a conversation, up to some of all, while nothing is under way. */
  async trim(conversation: string, share: number): Promise<void> {
    const world = this.#world
    const log = world.server.storage?.log
    if (!log) return
    await world.quiet()
    const below = 1 + Math.floor(share * world.log.tail(conversation))
    const key = `im/${conversation}` as ConversationKey
    await world.until(log.trim(key, below as Seq))
    const [tail] = await world.until(log.tails([key]))
    const { first } = tail as Tail
    if (first > Math.max(below, world.log.first(conversation))) world.wrong(`${conversation} begins at ${first}`)
    world.log.trims.set(conversation, [...(world.log.trims.get(conversation) ?? []), first])
  }

  /** So many entries at once. */
  async flood(count: number): Promise<void> {
    const { server, log } = this.#world
    const { core } = server
    if (!core) return
    const all = Array.from({ length: count }, () => {
      const nth = ++this.#flooded
      const text = `office ${nth}`
      log.published({ text, conversation: GROUP, from: 'alice', client: 'office', nth })
      return core.run('sendMessage', callerOf('alice'), { conversation: GROUP, text })
    })
    await this.#world.until(Promise.all(all))
  }
}
