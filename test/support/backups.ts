/** What backups are made of under load: what was acknowledged meanwhile, and what is there afterwards. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import type { Seq } from '../../protocol/ids.ts'
import { OPS, range } from '../contracts/ground.ts'
import { open } from './damage.ts'
import type { Person } from './person.ts'

/** Texts so large that the engine writes tables while backups are made. */
const TEXT_BYTES = 40_000
const AT_ONCE = 8

/** Sends until it is ended; knows what was acknowledged, by its id. */
export function load(person: Person): { acked: Map<string, number>; end(): Promise<void> } {
  const acked = new Map<string, number>()
  let ended = false
  const senders = range(1, AT_ONCE).map(async sender => {
    for (let nth = 0; !ended; nth++) {
      const clientMessageId = `${sender}-${nth}`
      const text = randomBytes(TEXT_BYTES / 2).toString('hex')
      const { status, body } = await person.api('POST', '/conversations/g:ops/messages', { text, clientMessageId })
      assert.equal(status, 201)
      acked.set(clientMessageId, (body as { seq: number }).seq)
    }
  })
  return {
    acked,
    async end() {
      ended = true
      await Promise.all(senders)
    },
  }
}

/** What is in a group, by client message id; its numbers have no gap. */
export async function contentOf(directory: string): Promise<Map<string, number>> {
  await using storage = await open(directory)
  const [tail] = await storage.log.tails([OPS])
  const content = new Map<string, number>()
  let expected = 1
  for (let after = 0; ; after = expected - 1) {
    const entries = await storage.log.read(OPS, { after: after as Seq, limit: 100 })
    for (const { seq, entry } of entries) {
      assert.equal(seq, expected++)
      if (entry.clientMessageId !== undefined) content.set(entry.clientMessageId, seq)
    }
    if (entries.length === 0) break
  }
  assert.equal(tail?.seq, expected - 1)
  return content
}
