/** A data directory as a server leaves it, everything that it serves, and damage to one of its files. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { constants, copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import type { ConversationKey, EntryDraft, Storage } from '../../core/ports.ts'
import type { Seq } from '../../protocol/ids.ts'
import { openDirectory, openStorage, type StorageObserver } from '../../storage/open.ts'
import type { Person } from './person.ts'
import type { Chance } from './proof.ts'
import { TestServer } from './server.ts'

const ROUNDS = 6
const MESSAGES = 240
/** Positions of which it is asked whether a repeat still finds what it said. */
const REPEATS = 12

/** People, groups, a device and sessions talk through a server that is killed and started again. */
export async function lived(t: TestContext, chance: Chance): Promise<string> {
  const server = await TestServer.start(t)
  const people = Object.values(await server.people('alice', 'bob', 'carol', 'dave'))
  const [alice, bob] = people as [Person, Person]
  await alice.group('ops', ...people.slice(1))
  await bob.group('shift', ...people.slice(2))
  assert.equal((await alice.api('POST', '/devices', { device: 'pump-1', group: 'ops' })).status, 201)
  for (let round = 0; round < ROUNDS; round++) {
    await talk(people, round, chance)
    await server.kill()
    await server.start()
  }
  // What is in the write-ahead log alone.
  await talk(people.slice(0, 2), ROUNDS, chance)
  await server.kill()
  return server.dir
}

async function talk(people: readonly Person[], round: number, chance: Chance): Promise<void> {
  const listeners = await Promise.all(people.map(person => person.connect(5, { clientId: 'desk' })))
  await Promise.all(listeners.map((script, nth) => script.subscribe((people[nth] as Person).inbox)))
  const speak = async (person: Person) => {
    const script = await person.connect(chance.happens(0.5) ? 4 : 5, { clientId: 'phone' })
    for (let at = 0; at < MESSAGES; at += 40) {
      const sends = Array.from({ length: 40 }, (_, nth) => {
        const topic = chance.of(['im/g/ops/send', 'im/g/shift/send', 'im/u/bob/send', 'im/u/carol/send'])
        const words = chance.happens(0.4) ? 800 : 60
        const text = Array.from({ length: 4 + chance.below(words) }, () => chance.next().toString(36).slice(2)).join(
          ' ',
        )
        const payload = JSON.stringify({ text, clientMessageId: `${round}-${at + nth}` })
        return script.publish({ topic, payload, qos: 1 })
      })
      await Promise.all(sends)
    }
    await script.disconnect()
  }
  await Promise.all(people.map(speak))
  const sent = (await (people[0] as Person).history('g:ops')).filter(
    ({ from, retracted }) => from === 'alice' && !retracted,
  )
  for (const { seq } of sent.slice(-3))
    await (people[0] as Person).api('POST', `/conversations/g:ops/messages/${seq}/recall`)
  await (people[1] as Person).api('PUT', '/conversations/g:ops/read', { upTo: sent.at(-1)?.seq })
  for (const script of listeners) {
    for (const { id } of script.untaken('publish').slice(0, 50)) if (id) script.ack('puback', id)
    await script.ping()
    await script.disconnect()
  }
}

/** What a directory is asked for: every log, every partition of every table and index, and some repeats. */
export interface Plan {
  conversations: ConversationKey[]
  partitions: [table: string, partition: string][]
  indexes: [table: string, index: string, partition: string][]
  repeats: [conversation: ConversationKey, draft: EntryDraft, seq: Seq][]
}

export async function planOf(directory: string, chance: Chance): Promise<Plan> {
  const level = await openDirectory(directory)
  const unique = (rows: string[][]) => [...new Map(rows.map(row => [row.join('\0'), row])).values()]
  const partsOf = async (first: string) =>
    (await level.keys({ gte: `${first}\0`, lt: `${first}\x01` }).all()).map(key => key.split('\0').slice(1))
  const conversations = (await partsOf('t')).map(([conversation]) => conversation as ConversationKey)
  const partitions = unique((await partsOf('r')).map(parts => parts.slice(0, 2))) as Plan['partitions']
  const indexes = unique((await partsOf('i')).map(parts => parts.slice(0, 3))) as Plan['indexes']
  const known = (await partsOf('d')) as [ConversationKey, string, string][]
  await level.close()
  await using storage = await open(directory)
  const repeats: Plan['repeats'] = []
  while (repeats.length < REPEATS) {
    const conversation = chance.of(known)[0]
    const [entry] = await storage.log.read(conversation, { after: chance.below(50) as Seq, limit: 1 })
    if (entry?.kind !== 'message' || entry.entry.retracted || !entry.entry.clientMessageId) continue
    const { kind, from, seq } = entry
    const { kind: _, conversation: __, seq: ___, n, id, from: ____, sentAt, ...body } = entry.entry
    repeats.push([conversation, { kind, from, body } as EntryDraft, seq])
  }
  return { conversations, partitions, indexes, repeats }
}

export const open = (directory: string, observer: Partial<StorageObserver> = {}): Promise<Storage> =>
  openStorage({ engine: 'level', directory, fsync: true, lowWaterBytes: 0, clock: { now: Date.now }, observer })

/** Everything that is served, by name, as a hash of all its rows. */
export async function served({ log, records }: Storage, plan: Plan): Promise<Map<string, string>> {
  const all = new Map<string, string>()
  const keep = (name: string, rows: unknown) =>
    all.set(name, createHash('sha256').update(JSON.stringify(rows)).digest('hex'))
  keep('tails', await log.tails(plan.conversations))
  for (const conversation of plan.conversations) {
    const entries: unknown[] = []
    for (let after = 0; ; ) {
      const page = await log.read(conversation, { after: after as Seq, limit: 1_000 })
      entries.push(...page.map(({ bytes }) => Buffer.from(bytes).toString()))
      const last = page.at(-1)
      if (!last) break
      after = last.seq
    }
    keep(`log ${conversation}`, entries)
  }
  for (const [name, partition] of plan.partitions)
    keep(`table ${name} ${partition}`, await records.scan({ name }, partition, { limit: 1_000 }))
  for (const [name, index, partition] of plan.indexes) {
    const table = { name, indexes: { [index]: () => undefined } }
    keep(`index ${name} ${index} ${partition}`, await records.scan(table, partition, { index, limit: 1_000 }))
  }
  for (const [conversation, draft, seq] of plan.repeats) {
    const repeated = await log.append(conversation, draft)
    keep(`repeat of ${conversation} ${seq}`, [repeated.seq, repeated.repeated])
  }
  return all
}

/** Files below a directory, with what kind each is. */
export function filesOf(directory: string): { file: string; kind: string }[] {
  const names = (readdirSync(directory, { recursive: true }) as string[]).sort()
  const kindOf = (file: string) =>
    basename(file)
      .replace(/^\d+\./, '*.')
      .replace(/-\d+$/, '-*')
  return names.filter(name => statSync(join(directory, name)).isFile()).map(file => ({ file, kind: kindOf(file) }))
}

/** A copy in which one file is another, or is missing. Also of tables: the engine may write over one that it does not know. */
export async function imageOf(
  t: TestContext | 'kept',
  directory: string,
  damaged?: string,
  bytes?: Buffer,
): Promise<string> {
  const image = await mkdtemp(join(tmpdir(), 'damage-'))
  if (t !== 'kept') t.after(() => rmSync(image, { recursive: true, force: true }))
  for (const { file } of filesOf(directory)) {
    const to = join(image, file)
    mkdirSync(dirname(to), { recursive: true })
    if (file === damaged) {
      if (bytes) writeFileSync(to, bytes)
    } else copyFileSync(join(directory, file), to, constants.COPYFILE_FICLONE)
  }
  return image
}

/** What became of a file: its bytes, or nothing where it is gone. */
export function harm(directory: string, file: string, chance: Chance): { how: string; bytes?: Buffer } {
  const bytes = readFileSync(join(directory, file))
  const what = bytes.length === 0 ? 0.99 : chance.next()
  if (what < 0.6) {
    // Also where the directories and footers of files lie.
    const span = Math.min(bytes.length, chance.of([bytes.length, bytes.length, 4_096, 48]))
    const at = bytes.length - 1 - chance.below(span)
    const bit = chance.below(8)
    bytes[at] = (bytes[at] as number) ^ (1 << bit)
    return { how: `bit ${bit} of byte ${at} of ${bytes.length}`, bytes }
  }
  if (what < 0.9) {
    const span = Math.min(bytes.length, chance.of([bytes.length, bytes.length, 4_096, 48]))
    const length = bytes.length - 1 - chance.below(span)
    return { how: `cut off at ${length} of ${bytes.length}`, bytes: bytes.subarray(0, length) }
  }
  if (what < 0.95) return { how: 'emptied', bytes: Buffer.alloc(0) }
  return { how: 'removed' }
}

/** Where each write of a whole write-ahead log ends, but for the last: storage/level/wal.ts has the format. */
export function endsOf(log: Buffer): number[] {
  const ends: number[] = []
  for (let at = 0; at + 7 <= log.length; ) {
    const left = 32_768 - (at % 32_768)
    const type = left < 7 ? 0 : log[at + 6]
    if (at > 0 && (type === 1 || type === 2)) ends.push(at)
    at += left < 7 ? left : 7 + log.readUInt16LE(at + 4)
  }
  return ends
}
