/** Operations in few words: alice writes to bob, and bob reads on his phone. */
import type { Disconnected, Operation, Received, Sent } from './history.ts'

export const log = (conversation: string, ...texts: string[]): Operation => ({
  do: 'log',
  at: 100_000,
  conversation,
  entries: texts.map((text, i) => ({ seq: i + 1, n: i + 1, kind: 'message', from: 'alice', sentAt: 5, text })),
})
export const sent = (text: string, more: Partial<Sent> = {}): Operation => ({
  do: 'sent',
  at: 10,
  connection: 'a1',
  from: 'alice',
  conversation: 'u:alice:bob',
  text,
  ...more,
})
export const acked = (text: string, at = 20): Operation => ({ do: 'acknowledged', at, text })
export const bob = (connection: string, resumed = false): Operation[] => [
  { do: 'connected', at: 1, connection, session: 'phone', user: 'bob', resumed },
  { do: 'subscribed', at: 1, session: 'phone' },
]
export const away = (connection: string, more: Partial<Disconnected> = {}): Operation => ({
  do: 'disconnected',
  at: 30,
  connection,
  session: 'phone',
  ...more,
})
export const got = (
  connection: string,
  seq: number,
  text: string | undefined,
  more: Partial<Received> = {},
): Operation => ({
  do: 'received',
  at: 25,
  connection,
  session: 'phone',
  user: 'bob',
  conversation: 'u:alice:bob',
  seq,
  kind: 'message',
  ...(text !== undefined && { text }),
  dup: false,
  ...more,
})
export const crashed = { do: 'fault', at: 31, what: 'crash' } as const
export const PAIR = 'u:alice:bob'
