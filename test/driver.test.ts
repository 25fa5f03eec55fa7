/** The connection that hears of Cassandra's nodes is looked for again when its node is given up, and only then. */
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import type { Client } from 'cassandra-driver'
import { mend } from '../storage/cassandra/driver.ts'

for (const [isUp, connected, searches] of [
  [true, true, 0],
  [true, false, 1],
  // It is closed a moment after its node is given up.
  [false, true, 1],
] as const)
  test(`a node that is ${isUp ? 'up' : 'down'}, ${connected ? 'connected' : 'not connected'}: ${searches} search`, async () => {
    let begun = 0
    const control = {
      connection: { connected, close: () => {} },
      host: { isUp: () => isUp },
      _refresh: async () => void begun++,
    }
    mend(Object.assign(new EventEmitter(), { controlConnection: control }) as unknown as Client)
    await Promise.all([control._refresh(), control._refresh()])
    assert.equal(begun, searches)
  })
