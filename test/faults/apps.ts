/** Apps of a fault run: clients of the SDK behind nginx, who talk in the group of a round and tell how long they were cut off. */
import { type Client, createClient } from '../../sdk/client.ts'
import type { Person } from '../support/person.ts'
import type { Round } from './round.ts'

const PACE_MS = 2_000

export class App {
  readonly name: string
  readonly user: string
  readonly #round: Round
  readonly #client: Client
  readonly #connection: string
  #count = 0
  #waiting = 0
  #timer: NodeJS.Timeout | undefined
  #cutAt: number | undefined
  /** How long it was without a connection, each time. */
  readonly awayMs: number[] = []

  constructor(round: Round, person: Person, port: number) {
    const { recorder } = round
    this.#round = round
    this.user = person.user
    this.name = `${this.user}-app`
    this.#connection = recorder.connection(this.name)
    const login = { user: person.user, key: person.key }
    this.#client = createClient({ url: `http://127.0.0.1:${port}`, login, clientId: this.name })
    this.#client.on('entry', entry => this.#came(entry))
    this.#client.on('gap', gap => this.#came(gap))
    this.#client.on('disconnected', ({ refusal }) => {
      const what = `app ${refusal.code}`
      round.told.set(what, (round.told.get(what) ?? 0) + 1)
      this.#cutAt ??= performance.now()
    })
    this.#client.on('connected', () => {
      if (this.#cutAt !== undefined) this.awayMs.push(performance.now() - this.#cutAt)
      this.#cutAt = undefined
    })
    this.#client.on(
      'refused',
      ({ refusal }) => void recorder.problems.push(`${this.name}: refused with ${refusal.code}`),
    )
    this.#client.on('error', error => void recorder.problems.push(`${this.name}: ${error}`))
  }

  get idle(): boolean {
    return this.#waiting === 0
  }

  async start(): Promise<void> {
    const { recorder } = this.#round
    await this.#client.connect()
    const { name: session, user } = this
    // To the app there is one connection: the SDK hides that there are several.
    recorder.add({ do: 'connected', at: recorder.now(), connection: this.#connection, session, user, resumed: false })
    recorder.add({ do: 'subscribed', at: recorder.now(), session })
    this.#timer = setInterval(() => this.#say(), PACE_MS)
  }
  stop(): void {
    clearInterval(this.#timer)
  }
  end(): void {
    this.stop()
    this.#client.close().catch(() => {})
  }

  #came(entry: object): void {
    this.#round.recorder.came(this.#connection, this.name, this.user, JSON.stringify(entry), false)
  }

  #say(): void {
    const { recorder, group } = this.#round
    const text = `${this.name} ${++this.#count}`
    const conversation = `g:${group}`
    const { user: from } = this
    this.#waiting++
    recorder.add({ do: 'sent', at: recorder.now(), connection: this.#connection, from, conversation, text })
    this.#client.send(conversation, text).then(
      () => {
        this.#waiting--
        recorder.acked(text)
      },
      refusal => {
        this.#waiting--
        recorder.problems.push(`${text}: ${refusal}`)
      },
    )
  }
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
