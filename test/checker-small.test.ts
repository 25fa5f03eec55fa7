/** The checker on small histories by hand: what looks like a breach and is none, and the least that is one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check } from './checker/check.ts'
import type { Operation, Verdict } from './checker/history.ts'
import { acked, away, bob, crashed, got, log, PAIR, sent } from './checker/words.ts'

const [A, B] = [sent('a'), sent('b')]

const SMALL: [name: string, verdicts: Verdict[], history: Operation[]][] = [
  ['nothing happened', [], []],
  ['what was sent came', [], [...bob('b1'), A, acked('a'), got('b1', 1, 'a'), log(PAIR, 'a')]],
  ['an unknown outcome that is stored', [], [...bob('b1'), A, got('b1', 1, 'a'), log(PAIR, 'a')]],
  ['an unknown outcome that is not stored', [], [...bob('b1'), A, log(PAIR)]],
  ['an acknowledged one that is not stored', ['lost'], [A, acked('a'), log(PAIR)]],
  ['an acknowledged one, and no log', ['lost'], [A, acked('a')]],
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
    'a repeat without DUP after a crash',
    ['doubled'],
    [...bob('b1'), A, got('b1', 1, 'a'), away('b1'), crashed, ...bob('b2', true), got('b2', 1, 'a'), log(PAIR, 'a')],
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
    'a repeat without DUP',
    ['doubled'],
    [...bob('b1'), A, got('b1', 1, 'a'), away('b1'), ...bob('b2', true), got('b2', 1, 'a'), log(PAIR, 'a')],
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
    'two texts with one clientMessageId are both stored',
    ['doubled'],
    [sent('a', { clientMessageId: 'x' }), sent('b', { clientMessageId: 'x' }), log(PAIR, 'a', 'b')],
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
    'a refusal of what is stored',
    ['phantom'],
    [A, { do: 'refused', at: 30, text: 'a', code: 'too-large' }, log(PAIR, 'a')],
  ],
  ['stored in a conversation that it was not sent to', ['phantom'], [A, log('u:alice:carol', 'a')]],
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
for (const [name, verdicts, history] of SMALL) {
  test(`a small history: ${name}: ${verdicts[0] ?? 'nothing is found'}`, () => {
    const found = check(history)
    assert.deepEqual([...new Set(found.map(({ verdict }) => verdict))], verdicts, JSON.stringify(found))
  })
}

test('a finding says who, where and what', () => {
  const history = [...bob('b1'), A, B, acked('a'), acked('b'), got('b1', 1, 'a'), got('b1', 1, 'a'), log(PAIR, 'a')]
  assert.deepEqual(check(history), [
    { verdict: 'doubled', says: 'bob (phone) got u:alice:bob 1 “a” again on the same connection, b1' },
    { verdict: 'lost', says: '“b” from alice to u:alice:bob was acknowledged at 20, and is not in the log' },
  ])
})

test('with retention a log starts anywhere, and a gap up to there is right', () => {
  const entries = [{ seq: 9, n: 7, kind: 'message', from: 'alice', sentAt: 1, text: 'a' }]
  const gap = got('b1', 8, undefined, { kind: 'gap', from: 3 })
  const history: Operation[] = [
    ...bob('b1'),
    A,
    gap,
    got('b1', 9, 'a'),
    { do: 'log', at: 90, conversation: PAIR, entries },
  ]
  assert.deepEqual(check(history, { retention: true }), [])
  assert.ok(check(history).length > 0)
})

test('a gap makes up for what is in it, and not for what is missing right before it', () => {
  const told = (from: number) => [...bob('b1'), A, B, got('b1', 1, 'a'), got('b1', 5, undefined, { kind: 'gap', from })]
  const entries = [{ seq: 6, n: 6, kind: 'message', from: 'alice', sentAt: 1, text: 'b' }]
  const rest: Operation = { do: 'log', at: 90, conversation: PAIR, entries }
  const found = (from: number) => check([...told(from), rest], { retention: true }).map(({ verdict }) => verdict)
  assert.deepEqual(found(2), [])
  assert.deepEqual(found(3), ['gap'])
})
