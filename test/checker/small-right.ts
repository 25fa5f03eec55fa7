/** Small histories by hand that look like a breach and are none. */

import type { Operation, Verdict } from './history.ts'
import { acked, away, bob, got, log, PAIR, sent } from './words.ts'

const [A, B] = [sent('a'), sent('b')]

export const RIGHT: [name: string, verdicts: Verdict[], history: Operation[]][] = [
  ['nothing happened', [], []],
  ['what was sent came', [], [...bob('b1'), A, acked('a'), got('b1', 1, 'a'), log(PAIR, 'a')]],
  ['an unknown outcome that is stored', [], [...bob('b1'), A, got('b1', 1, 'a'), log(PAIR, 'a')]],
  ['an unknown outcome that is not stored', [], [...bob('b1'), A, log(PAIR)]],
  [
    'a repeat with DUP after a crash of the session',
    [],
    [
      ...bob('b1'),
      A,
      got('b1', 1, 'a'),
      away('b1'),
      ...bob('b2', true),
      got('b2', 1, 'a', { dup: true }),
      log(PAIR, 'a'),
    ],
  ],
  [
    'a repeat with DUP',
    [],
    [
      ...bob('b1'),
      A,
      got('b1', 1, 'a'),
      away('b1'),
      ...bob('b2', true),
      got('b2', 1, 'a', { dup: true }),
      log(PAIR, 'a'),
    ],
  ],
  [
    'of two connections that are open at once the later one is read first',
    [],
    [
      ...[...bob('b2'), A, got('b2', 1, 'a', { dup: true }), ...bob('b1', true), got('b1', 1, 'a')],
      ...[away('b1'), away('b2'), log(PAIR, 'a')],
    ],
  ],
  [
    'a repeat to a session that began anew',
    [],
    [...bob('b1'), A, got('b1', 1, 'a'), away('b1', { left: true }), ...bob('b2'), got('b2', 1, 'a'), log(PAIR, 'a')],
  ],
  [
    'resends in another order after a crash',
    [],
    [
      ...bob('b1'),
      A,
      B,
      got('b1', 1, 'a'),
      got('b1', 2, 'b'),
      away('b1'),
      ...bob('b2', true),
      got('b2', 2, 'b', { dup: true }),
      got('b2', 1, 'a', { dup: true }),
      log(PAIR, 'a', 'b'),
    ],
  ],
  [
    'what an older connection still gives after a takeover',
    [],
    [
      ...bob('b1'),
      A,
      B,
      got('b1', 1, 'a'),
      ...bob('b2', true),
      got('b2', 1, 'a', { dup: true }),
      got('b2', 2, 'b'),
      got('b1', 2, 'b'),
      log(PAIR, 'a', 'b'),
    ],
  ],
  [
    'what came before a SUBACK that never came promises nothing',
    [],
    [
      ...bob('b1').slice(0, 1),
      ...[A, B, sent('c')],
      got('b1', 1, 'a'),
      away('b1'),
      ...bob('b2', true),
      got('b2', 3, 'c'),
      log(PAIR, 'a', 'b', 'c'),
    ],
  ],
  [
    'what was sent before the subscription does not come',
    [],
    [A, acked('a', 0), ...bob('b1'), B, got('b1', 2, 'b'), log(PAIR, 'a', 'b')],
  ],
  [
    'a retry by clientMessageId from another connection',
    [],
    [
      sent('a', { clientMessageId: 'x' }),
      sent('a', { clientMessageId: 'x', connection: 'a2', again: true }),
      acked('a'),
      acked('a'),
      log(PAIR, 'a'),
    ],
  ],
  [
    'two texts with one clientMessageId are one message',
    [],
    [sent('a', { clientMessageId: 'x' }), sent('b', { clientMessageId: 'x' }), acked('a'), acked('b'), log(PAIR, 'a')],
  ],
  [
    'the same clientMessageId of another sender',
    [],
    [
      sent('a', { clientMessageId: 'x' }),
      sent('b', { clientMessageId: 'x', conversation: 'u:alice:carol' }),
      acked('a'),
      acked('b'),
      log(PAIR, 'a'),
      log('u:alice:carol', 'b'),
    ],
  ],
  [
    'a refusal of the repeat of what was stored',
    [],
    [
      A,
      sent('a', { again: true, connection: 'a2' }),
      { do: 'refused', at: 30, text: 'a', code: 'not-a-member' },
      log(PAIR, 'a'),
    ],
  ],
  [
    'sent again on another connection after a later one',
    [],
    [A, sent('b', { connection: 'a2' }), sent('a', { connection: 'a2', again: true }), log(PAIR, 'b', 'a')],
  ],
  [
    'a message that was taken back',
    [],
    [
      A,
      acked('a'),
      { do: 'log', at: 90, conversation: PAIR, entries: [{ seq: 1, n: 1, kind: 'message', from: 'alice', sentAt: 1 }] },
    ],
  ],
  [
    'what follows something that came before a SUBACK that never came is not waited for',
    [],
    [
      ...bob('b1').slice(0, 1),
      ...[A, B, acked('b')],
      got('b1', 1, 'a'),
      away('b1'),
      ...bob('b2', true),
      log(PAIR, 'a', 'b'),
    ],
  ],
  ['it does not come to one who is away', [], [...bob('b1'), A, acked('a'), away('b1'), log(PAIR, 'a')]],
  [
    'it does not come to one who left',
    [],
    [...bob('b1'), A, acked('a'), away('b1', { left: true }), ...bob('b2'), log(PAIR, 'a')],
  ],
  ['it was acknowledged too shortly before the end', [], [...bob('b1'), A, acked('a', 99_000), log(PAIR, 'a')]],
  [
    'it does not come, and a fault lasts',
    [],
    [...bob('b1'), { do: 'fault', at: 15, what: 'slow disk', begins: true }, A, acked('a'), log(PAIR, 'a')],
  ],
  [
    'the end of one log in two operations',
    [],
    [
      A,
      B,
      acked('b'),
      log(PAIR, 'a'),
      {
        do: 'log',
        at: 90,
        conversation: PAIR,
        entries: [{ seq: 2, n: 2, kind: 'message', from: 'alice', sentAt: 5, text: 'b' }],
      },
    ],
  ],
]
