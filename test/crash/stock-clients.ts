/** Stock clients of a crash run: mqtt.js, mosquitto_sub and mosquitto_pub, which come back by themselves. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import mqtt, { type IConnackPacket, type MqttClient, type Packet } from 'mqtt'
import type { Person } from '../support/person.ts'
import type { Letter, Letters } from './letters.ts'
import type { Recorder } from './recorder.ts'

const EXPIRY_SECONDS = 3_600
const RECONNECT_MS = 50

/** mqtt.js with a persistent session: reads its inbox, and sends where it has letters. */
export class MqttJs {
  readonly name: string
  readonly user: string
  readonly #recorder: Recorder
  readonly #letters: Letters
  readonly #client: MqttClient
  readonly #qos: 1 | 2
  readonly #inFlight: number
  /** By payload: what is not acknowledged, and whether it went out before. */
  readonly #unacked = new Map<string, { letter: Letter; wasSent: boolean }>()
  #unsent: Letter[] = []
  #connection = ''
  #subscribed = false
  #stopped = false

  constructor(
    recorder: Recorder,
    person: Person,
    { name, version, qos, inFlight }: { name: string; version: 4 | 5; qos: 1 | 2; inFlight: number },
    letters: Letters,
  ) {
    this.name = name
    this.user = person.user
    this.#recorder = recorder
    this.#letters = letters
    this.#qos = qos
    this.#inFlight = inFlight
    this.#client = mqtt.connect(`mqtt://127.0.0.1:${person.server.ports.mqtt}`, {
      protocolVersion: version,
      clientId: name,
      username: person.user,
      password: person.key,
      clean: false,
      reconnectPeriod: RECONNECT_MS,
      resubscribe: false,
      ...(version === 5 && { properties: { sessionExpiryInterval: EXPIRY_SECONDS } }),
    })
    this.#client.on('connect', connack => this.#accepted(connack, person.inbox))
    this.#client.on('packetsend', packet => this.#sends(packet))
    this.#client.on('packetreceive', packet => this.#receives(packet))
    this.#client.on('close', () => this.#closed())
    // It tries again; what it could not do shows in the history.
    this.#client.on('error', () => {})
  }

  get idle(): boolean {
    return this.#unacked.size === 0
  }
  /** Sends nothing new. */
  stop(): void {
    this.#stopped = true
  }
  /** From its next connection on it does again. */
  goOn(): void {
    this.#stopped = false
  }
  async end(): Promise<void> {
    this.#stopped = true
    await this.#client.endAsync(true)
  }

  #accepted({ sessionPresent: resumed }: IConnackPacket, inbox: string): void {
    const recorder = this.#recorder
    if (this.#subscribed && !resumed) recorder.problems.push(`the session ${this.name} is lost`)
    this.#fill()
    if (this.#subscribed) return
    this.#client.subscribe(inbox, { qos: 1 }, error => {
      if (error) return
      this.#subscribed = true
      recorder.add({ do: 'subscribed', at: recorder.now(), session: this.name })
    })
  }

  #fill(): void {
    while (!this.#stopped && this.#client.connected && this.#unacked.size < this.#inFlight) {
      const letter = this.#unsent.shift() ?? this.#letters.next()
      const { topic, payload } = letter
      const one = { letter, wasSent: false }
      this.#unacked.set(payload, one)
      this.#client.publish(topic, payload, { qos: this.#qos }, error => this.#answered(one, error))
    }
  }

  #answered({ letter, wasSent }: { letter: Letter; wasSent: boolean }, error?: Error): void {
    this.#unacked.delete(letter.payload)
    // The connection ended while it sent older ones again: what came after them was not sent at all.
    if (error && !wasSent) this.#unsent.push(letter)
    else if (error) this.#recorder.problems.push(`“${letter.text}” is refused: ${error.message}`)
    else this.#recorder.acked(letter.text)
    // Not within the callback: it may be called for everything that waits, and does not end while more comes.
    if (!error) setImmediate(() => this.#fill())
  }

  #sends(packet: Packet): void {
    if (packet.cmd !== 'publish') return
    const one = this.#unacked.get(packet.payload.toString())
    if (!one) return
    const { text, conversation, clientMessageId } = one.letter
    this.#recorder.add({
      do: 'sent',
      at: this.#recorder.now(),
      connection: this.#connection,
      from: this.user,
      conversation,
      text,
      ...(clientMessageId !== undefined && { clientMessageId }),
      ...(one.wasSent && { again: true }),
    })
    one.wasSent = true
  }

  #receives(packet: Packet): void {
    const recorder = this.#recorder
    if (packet.cmd === 'connack') {
      this.#connection = recorder.connection(this.name)
      const { name: session, user } = this
      const resumed = packet.sessionPresent
      recorder.add({ do: 'connected', at: recorder.now(), connection: this.#connection, session, user, resumed })
    }
    if (packet.cmd === 'publish')
      recorder.came(this.#connection, this.name, this.user, packet.payload.toString(), packet.dup)
  }

  #closed(): void {
    const { name: session } = this
    const connection = this.#connection
    if (connection === '') return
    this.#connection = ''
    this.#recorder.add({ do: 'disconnected', at: this.#recorder.now(), connection, session })
  }
}

const account = ({ server, user, key }: Person) => ['-p', String(server.ports.mqtt), '-u', user, '-P', key]

/** mosquitto_sub with a persistent session; what it prints for debugging tells its connections and what has DUP. */
export class MosquittoSub {
  readonly name = 'mosquitto'
  readonly user: string
  readonly #recorder: Recorder
  readonly #child: ChildProcess
  #connection = ''
  #dup = false
  readonly subscribed: Promise<void>

  constructor(recorder: Recorder, person: Person) {
    this.user = person.user
    this.#recorder = recorder
    const session = ['-i', this.name, '-c', '-V', '5', '-x', String(EXPIRY_SECONDS)]
    // Line by line also where it writes to a pipe.
    const command = ['-oL', 'mosquitto_sub', ...account(person), ...session, '-q', '1', '-d', '-t', person.inbox]
    this.#child = spawn('stdbuf', command, { stdio: ['ignore', 'pipe', 'ignore'] })
    const lines = createInterface(this.#child.stdout as NonNullable<ChildProcess['stdout']>)
    this.subscribed = new Promise(resolve => lines.on('line', line => this.#line(line, resolve)))
  }

  #line(line: string, subscribed: () => void): void {
    const recorder = this.#recorder
    const { name: session, user } = this
    if (line.startsWith('{')) recorder.came(this.#connection, session, user, line, this.#dup)
    else if (line.includes(' received PUBLISH (')) this.#dup = line.includes('(d1,')
    else if (line.includes(' received CONNACK (')) {
      const resumed = this.#connection !== ''
      // It prints nothing when a connection ends.
      if (resumed) recorder.add({ do: 'disconnected', at: recorder.now(), connection: this.#connection, session })
      this.#connection = recorder.connection(session)
      recorder.add({ do: 'connected', at: recorder.now(), connection: this.#connection, session, user, resumed })
    } else if (line.startsWith('Subscribed (')) {
      recorder.add({ do: 'subscribed', at: recorder.now(), session })
      subscribed()
    }
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exit
  }
}

/** Sends one message by mosquitto_pub, which tries until it is acknowledged. */
export async function mosquittoPub(recorder: Recorder, person: Person, name: string, letter: Letter): Promise<void> {
  const { text, conversation, topic, payload, clientMessageId } = letter
  const named = clientMessageId === undefined ? {} : { clientMessageId }
  recorder.add({ do: 'sent', at: recorder.now(), connection: name, from: person.user, conversation, text, ...named })
  const command = [...account(person), '-i', name, '-q', '1', '-t', topic, '-m', payload]
  const [code] = (await once(spawn('mosquitto_pub', command, { stdio: 'ignore' }), 'exit')) as [number | null]
  if (code === 0) recorder.acked(text)
}
