/** Opens a data directory that a power cut has left, and looks at all that is in it. */
import assert from 'node:assert/strict'
import type { ConversationKey, MessageLog } from '../../core/ports.ts'
import type { Sender, Seq } from '../../protocol/ids.ts'
import type { Level } from '../../storage/level/engine.ts'
import { readDedup, readTail } from '../../storage/level/entries.ts'
import { openOver } from '../../storage/level/open.ts'
import { entryKey, whole } from '../../storage/level/rows.ts'
import { openDirectory } from '../../storage/open.ts'
import type { Acknowledged } from './load.ts'

export interface Found {
  /** Why the storage refuses the directory. */
  refused?: string
  /** Acknowledged before the cut, and not there. */
  lost: Acknowledged[]
  /** Ends of the engine's log that were left out. */
  torn: number
}

/** @throws AssertionError: gaps, repeats, or records that do not fit together. */
export async function verify(
  directory: string,
  groups: readonly string[],
  acknowledged: readonly Acknowledged[],
): Promise<Found> {
  let torn = 0
  let level: Level | undefined
  try {
    level = await openDirectory(directory, { tornWrite: () => torn++ })
    const free = async () => Number.POSITIVE_INFINITY
    const storage = await openOver(level, { clock: Date, fsync: false, lowWaterBytes: 0, free })
    const stored = new Set<string>()
    for (const group of groups) for (const text of await texts(storage.log, group)) stored.add(`${group} ${text}`)
    await rowsFit(level)
    await storage[Symbol.asyncDispose]()
    return { torn, lost: acknowledged.filter(({ group, text }) => !stored.has(`${group} ${text}`)) }
  } catch (thrown) {
    await level?.close()
    if (thrown instanceof assert.AssertionError) throw thrown
    const { message, cause } = thrown as Error
    return { refused: cause instanceof Error ? `${message} (${cause.message})` : message, lost: [], torn }
  }
}

/** All messages of a group, each once, and without a gap; it also takes another one. */
async function texts(log: MessageLog, group: string): Promise<string[]> {
  const key = `im/g:${group}` as ConversationKey
  const texts: string[] = []
  let seq = 0 as Seq | 0
  for (let more = true; more; ) {
    const entries = await log.read(key, { after: seq, limit: 1_000 })
    for (const { entry } of entries) {
      assert.equal(entry.seq, seq + 1, `${group} has a gap`)
      seq = entry.seq
      if (entry.kind === 'message') {
        texts.push(String(entry.text))
        assert.equal(entry.n, texts.length, `the messages of ${group} are not counted through`)
      }
    }
    more = entries.length > 0
  }
  const [tail] = await log.tails([key])
  assert.equal(tail?.seq, seq, `the end of ${group} is not where its entries end`)
  assert.equal(new Set(texts).size, texts.length, `a message is twice in ${group}`)
  const body = { type: 'text', text: 'after the cut' }
  const next = await log.append(key, { kind: 'message', from: 'alice' as Sender, body })
  assert.equal(next.seq, seq + 1)
  return texts
}

/** Every row is whole; what points at a row finds it. */
async function rowsFit(level: Level): Promise<void> {
  const rows = new Map<string, Buffer>()
  for await (const [key, value] of level.iterator()) rows.set(key, whole(key, value))
  for (const [key, value] of rows) {
    const [letter, ...parts] = key.split('\0')
    if (letter === 'd') {
      const entry = rows.get(entryKey(parts[0] as ConversationKey, readDedup(key, value).seq))
      assert.ok(entry?.includes(JSON.stringify(parts[2])), `${JSON.stringify(key)} finds another entry`)
    } else if (letter === 'i') {
      const [table, , , , ...at] = parts
      assert.ok(rows.has(['r', table, ...at].join('\0')), `${JSON.stringify(key)} finds no record`)
    } else if (letter === 'e') {
      const end = `t\0${parts[0]}`
      const tail = readTail(end, rows.get(end))
      assert.ok(Number(parts[1]?.slice(1)) <= tail.seq, `${JSON.stringify(key)} lies behind the end`)
    }
  }
}
