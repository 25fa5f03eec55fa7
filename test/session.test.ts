/**
 * Session, delivery and pump against a model, with every answer of log and storage held back until the run chooses it:
 * append ∥ subscribe ∥ resume ∥ leave ∥ acknowledge in any order, here or on another node, whose word comes late.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Session } from '../broker/session.ts'
import type { ConversationId } from '../protocol/ids.ts'
import { app, bob, World } from './session/world.ts'

const CONVERSATIONS = ['g:a', 'g:b', 'g:c'] as ConversationId[]

const RUNS = Number(process.env.RUNS ?? 1_000)
const someCommands = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('say', 'say elsewhere'), at: fc.nat(2) }) },
    { weight: 6, arbitrary: fc.record({ do: fc.constant('step' as const), at: fc.nat(50) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('ack' as const), at: fc.nat(50) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('change', 'change elsewhere'), at: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('look', 'word', 'lost'), at: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('retain' as const), at: fc.nat(11) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('reconnect' as const), at: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('subscribe' as const), at: fc.nat(1) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('stall' as const), at: fc.nat(1) }) },
  ),
  { maxLength: 120, size: 'max' },
)

type Command = { do: string; at: number }

/** Found by long runs, and played each time: "reconnect 0, step 1" and so on. */
const FOUND = [
  // Came into a conversation before other nodes told this one of the reader.
  'change 0, reconnect 0, step 1, step 3, step 9, change elsewhere 0',
  // Came back, and then acknowledged what was before.
  'say 1, change 1, stall 0, change elsewhere 1, stall 0, step 0, subscribe 0, ack 0, reconnect 1',
].map((words): [Command[]] => [words.split(', ').map(word => ({ do: word.slice(0, -2), at: Number(word.slice(-1)) }))])

async function play(commands: readonly Command[], kills: boolean) {
  const world = new World()
  for (const conversation of CONVERSATIONS.slice(0, 2)) world.change(conversation, false)
  await world.until(world.connect())
  const start = new Map(CONVERSATIONS.map(conversation => [conversation, world.log.of(world.key(conversation)).length]))
  for (const { do: what, at } of commands) {
    const conversation = CONVERSATIONS[at % 3] as ConversationId
    if (what.startsWith('say')) world.say(conversation, what.endsWith('elsewhere'))
    else if (what === 'step') await world.turns.step(at)
    else if (what === 'ack') world.ack(at)
    else if (what.startsWith('change')) world.change(conversation, what.endsWith('elsewhere'))
    else if (what === 'word') world.word(conversation)
    else if (what === 'lost') world.log.lost(world.key(conversation))
    else if (what === 'look') void world.memberships.get(app, bob, conversation)
    else if (what === 'retain') world.log.trim(world.key(conversation), 1 - (at >> 2) * 0.3)
    else if (what === 'subscribe') {
      if (world.session) world.working = Promise.all([world.working, world.subscribe(world.session)])
      world.working.catch(() => {})
    } else if (what === 'stall') {
      world.writable = !world.writable
      if (world.writable) world.session?.pump.drained()
    } else {
      await world.until(world.working)
      const old = world.session as Session
      if (kills && at === 0) {
        world.killed = true
        old.pump.close()
        world.delivery.remove(old.following)
      } else await world.until(old.close({ expirySeconds: 3600, mayRepeat: false, origins: async () => [] }))
      world.session = undefined
      world.unacked = new Map()
      // What follows comes between its looks at storage.
      world.working = world.connect()
      world.working.catch(() => {})
    }
  }
  await world.until(world.working)
  await world.settle()
  assert.deepEqual(
    world.faults.filter(fault => !(kills && fault.includes('Another change came first'))),
    [],
  )
  await world.until(
    (world.session as Session).close({ expirySeconds: 3600, mayRepeat: false, origins: async () => [] }),
  )
  for (const conversation of CONVERSATIONS) judge(world, conversation, start.get(conversation) as number)
}

/** In order, all of it, and once as long as nothing was killed. */
function judge(world: World, conversation: ConversationId, start: number) {
  const heard = world.heard.filter(entry => entry.conversation === conversation)
  const fresh = heard.filter(({ dup }) => !dup)
  for (let i = 1; i < fresh.length; i++) {
    const [before, now] = [fresh[i - 1], fresh[i]] as [(typeof fresh)[0], (typeof fresh)[0]]
    // The gap of who was not a member may take in what was sent and not acknowledged when the reader left.
    const ordered =
      (now.reason === 'not-a-member' ? now.seq : now.from) > before.seq ||
      (world.killed && now.connection > before.connection)
    assert.ok(ordered, `${conversation}: ${now.from} came after ${before.seq}`)
  }
  const joined = world.members.get(conversation)?.joinedSeq
  if (joined === undefined) return
  const had = new Set(heard.flatMap(({ from, seq }) => Array.from({ length: seq - from + 1 }, (_, i) => from + i)))
  const tail = world.log.of(world.key(conversation)).length
  // Who was in from the start is told of what they missed between leaving and rejoining, too.
  const from = conversation === CONVERSATIONS[2] ? Math.max(joined, start + 1) : start + 1
  // All is acknowledged: nothing is left above the prefix.
  const cursor = world.records.rows.get(`cursors\0im/bob/x\0${conversation}`)?.row
  assert.equal(JSON.stringify(cursor && { ...cursor, e: 0 }), JSON.stringify({ e: 0, a: tail }))
  for (let seq = from; seq <= tail; seq++)
    assert.ok(had.has(seq), `${conversation}: ${seq} of ${tail} was never delivered`)
}

test('a session gets every entry in order and once, whatever comes between', async () => {
  await fc.assert(
    fc.asyncProperty(someCommands, commands => play(commands, false)),
    { numRuns: RUNS, examples: FOUND, includeErrorInReport: true },
  )
})

test('a session that is killed repeats some entries, and never loses one', async () => {
  await fc.assert(
    fc.asyncProperty(someCommands, commands => play(commands, true)),
    { numRuns: RUNS, examples: FOUND, includeErrorInReport: true },
  )
})

test('a new session is granted nothing before its node hears of the member', async () => {
  const world = new World()
  let granted = false
  const connected = world.connect().then(() => {
    granted = true
  })
  // What was asked for last is answered first.
  const last = 720_719
  while (!world.isListening) {
    assert.equal(granted, false)
    await world.turns.step(last)
  }
  await world.until(connected)
})
