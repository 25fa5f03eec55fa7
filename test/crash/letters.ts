/** What a sender of a crash run says, and to whom: numbered texts to groups and to people, some with ids of their own. */
import type { Chance } from '../support/proof.ts'

export interface Letter {
  text: string
  conversation: string
  topic: string
  payload: string
  clientMessageId?: string
}

export class Letters {
  readonly #name: string
  readonly #user: string
  readonly #peers: readonly string[]
  readonly #chance: Chance
  readonly #named: number
  #count = 0

  /** `peers` are user ids, or `g:` and a group; `named` is the share that has a clientMessageId. */
  constructor(name: string, user: string, peers: readonly string[], chance: Chance, named = 0.5) {
    this.#name = name
    this.#user = user
    this.#peers = peers
    this.#chance = chance
    this.#named = named
  }

  next(): Letter {
    const peer = this.#chance.of(this.#peers)
    const text = `${this.#name} ${++this.#count}`
    const [conversation, topic] = peer.startsWith('g:')
      ? [peer, `im/g/${peer.slice(2)}/send`]
      : [`u:${[this.#user, peer].sort().join(':')}`, `im/u/${peer}/send`]
    if (!this.#chance.happens(this.#named)) return { text, conversation, topic, payload: text }
    const clientMessageId = text.replace(' ', '-')
    return { text, conversation, topic, payload: JSON.stringify({ text, clientMessageId }), clientMessageId }
  }
}
