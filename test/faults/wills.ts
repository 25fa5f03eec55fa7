/** Wills of a fault run: clients of one server that leave a word behind, and how often the others tell it. */
import assert from 'node:assert/strict'
import { Script } from '../../bench/wire/script.ts'
import type { Person } from '../support/person.ts'
import type { TestServer } from '../support/server.ts'
import type { Round } from './round.ts'

export class Will {
  readonly text: string
  readonly #round: Round
  readonly #person: Person
  readonly #delaySeconds: number
  #script: Script | undefined

  constructor(round: Round, person: Person, delaySeconds: number) {
    this.text = `${person.user} left a will`
    this.#round = round
    this.#person = person
    this.#delaySeconds = delaySeconds
  }

  /** Its client connects to that server; before, if it was connected to another one that has died. */
  async leave({ ports }: TestServer): Promise<void> {
    const { recorder, group } = this.#round
    const { user: username, key: password } = this.#person
    const connection = recorder.connection(`${username}-will`)
    if (!this.#script) {
      const conversation = `g:${group}`
      recorder.add({ do: 'sent', at: recorder.now(), connection, from: username, conversation, text: this.text })
    }
    this.#script = await Script.connect({ port: ports.mqtt }, 5, {
      ...{ clientId: `${username}-will`, username, password, clean: false },
      properties: { sessionExpiryInterval: 600 },
      will: {
        ...{ topic: `im/g/${group}/send`, payload: this.text, qos: 1 },
        properties: { willDelayInterval: this.#delaySeconds },
      },
    })
  }

  /** Its client says goodbye: there is nothing to tell any more. */
  async goodbye(): Promise<void> {
    await this.#script?.disconnect()
  }

  /** How often it is in the group. */
  async count(): Promise<number> {
    const entries = await this.#person.history(`g:${this.#round.group}`)
    assert.ok(entries.length > 0)
    return entries.filter(({ text }) => text === this.text).length
  }
}
