/** Small histories by hand: the least that is a breach. */

import type { Operation, Verdict } from './history.ts'
import { acked, away, bob, crashed, got, log, PAIR, sent } from './words.ts'

const [A, B] = [sent('a'), sent('b')]

export const WRONG: [name: string, verdicts: Verdict[], history: Operation[]][] = [
  ['an acknowledged one that is not stored', ['lost'], [A, acked('a'), log(PAIR)]],
  ['an acknowledged one, and no log', ['lost'], [A, acked('a')]],
  [
    'a repeat without DUP after a crash',
    ['doubled'],
    [...bob('b1'), A, got('b1', 1, 'a'), away('b1'), crashed, ...bob('b2', true), got('b2', 1, 'a'), log(PAIR, 'a')],
  ],
  [
    'a repeat without DUP',
    ['doubled'],
    [...bob('b1'), A, got('b1', 1, 'a'), away('b1'), ...bob('b2', true), got('b2', 1, 'a'), log(PAIR, 'a')],
  ],
  [
    'a repeat without DUP on two connections that are open at once',
    ['doubled'],
    [...bob('b1'), A, got('b1', 1, 'a'), ...bob('b2', true), got('b2', 1, 'a'), log(PAIR, 'a')],
  ],
  [
    'one without DUP behind one with DUP, on a connection that came when that one had ended',
    ['doubled'],
    [
      ...[...bob('b1'), A, got('b1', 1, 'a', { dup: true }), away('b1')],
      ...[...bob('b2', true), got('b2', 1, 'a'), log(PAIR, 'a')],
    ],
  ],
  [
    'a repeat with DUP on the same connection',
    ['doubled'],
    [...bob('b1'), A, got('b1', 1, 'a'), got('b1', 1, 'a', { dup: true }), log(PAIR, 'a')],
  ],
  [
    'a repeat without DUP behind one with DUP',
    ['doubled'],
    [
      ...bob('b1'),
      A,
      got('b1', 1, 'a'),
      away('b1'),
      crashed,
      ...bob('b2', true),
      got('b2', 1, 'a', { dup: true }),
      away('b2'),
      ...bob('b3', true),
      got('b3', 1, 'a'),
      log(PAIR, 'a'),
    ],
  ],
  [
    'what was lost on the way is skipped on resume',
    ['gap'],
    [
      ...bob('b1'),
      A,
      B,
      sent('c'),
      got('b1', 1, 'a'),
      away('b1'),
      ...bob('b2', true),
      got('b2', 3, 'c'),
      log(PAIR, 'a', 'b', 'c'),
    ],
  ],
  [
    'the first one after the subscription is left out',
    ['gap'],
    [...bob('b1'), A, B, got('b1', 2, 'b'), log(PAIR, 'a', 'b')],
  ],
  [
    'two texts with one clientMessageId are both stored',
    ['doubled'],
    [sent('a', { clientMessageId: 'x' }), sent('b', { clientMessageId: 'x' }), log(PAIR, 'a', 'b')],
  ],
  [
    'a refusal of what is stored',
    ['phantom'],
    [A, { do: 'refused', at: 30, text: 'a', code: 'too-large' }, log(PAIR, 'a')],
  ],
  ['stored in a conversation that it was not sent to', ['phantom'], [A, log('u:alice:carol', 'a')]],
  [
    'a message that was taken back, and another that is lost',
    ['lost'],
    [
      A,
      B,
      acked('a'),
      acked('b'),
      { do: 'log', at: 90, conversation: PAIR, entries: [{ seq: 1, n: 1, kind: 'message', from: 'alice', sentAt: 1 }] },
    ],
  ],
  ['what is acknowledged does not come', ['undelivered'], [...bob('b1'), A, acked('a'), log(PAIR, 'a')]],
  [
    'it does not come, and a fault was over long ago',
    ['undelivered'],
    [
      ...bob('b1'),
      { do: 'fault', at: 15, what: 'slow disk', begins: true },
      A,
      acked('a'),
      { do: 'fault', at: 30, what: 'slow disk' },
      log(PAIR, 'a'),
    ],
  ],
]
