/** Whoever may no longer take a message back does not, also where they lost the right at another node a moment ago. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Known } from '../core/caller.ts'
import type { StoredEntry } from '../core/entry.ts'
import type { MessageLog } from '../core/ports.ts'
import { recall } from '../core/recall.ts'
import type { MemberRow } from '../core/tables.ts'
import type { ConversationId, Seq } from '../protocol/ids.ts'
import { IM } from './support/core.ts'

for (const [now, code] of [
  [undefined, 'not-a-member'],
  [{ role: 'member' }, 'not-allowed'],
] as const)
  test(`an admin who is ${now?.role ?? 'out'} by the time of the append recalls nothing`, async () => {
    let place: Partial<MemberRow> | undefined = { role: 'admin' }
    const entry = { kind: 'message', from: 'bob', sentAt: 1, entry: {} } as unknown as StoredEntry
    const append: MessageLog['append'] = async (_key, _draft, options) => {
      // Another node was first: the log asks again whether this one may.
      place = now
      await options?.judge?.()
      return entry
    }
    const { recallMessage } = recall({
      log: { get: async () => [entry], append },
      members: { place: () => place as MemberRow | undefined },
      visibleFrom: async () => 1 as Seq,
      now: () => 2,
      recallWindowMs: 1_000,
    })
    const alice = { kind: 'user', app: IM, user: 'alice', member: 'alice' } as Known
    await assert.rejects(recallMessage(alice, { conversation: 'g:ops' as ConversationId, seq: 1 as Seq }), { code })
  })
