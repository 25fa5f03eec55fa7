/** What may happen, one command each: mostly without waiting for what it leads to, so that the next comes in the middle. */
import fc from 'fast-check'
import type { Client } from './client.ts'
import { at, Command, named, pace, stirs, who } from './command.ts'
import type { Wish } from './life.ts'
import { GROUP } from './log.ts'
import { FLUSHED_MS } from './world.ts'

// ---- connections ----

const expiries = fc.constantFrom(60, 60, 60, 600, 0)
const connect = fc
  .tuple(
    pace,
    who,
    fc.record({
      clean: fc.constantFrom(false, false, false, true),
      expiry: expiries,
      most: fc.constantFrom(0, 0, 1, 3, 8),
      waits: fc.boolean(),
    }),
  )
  .map(
    ([when, nth, { clean, expiry, most, waits }]) =>
      new Command(
        `connect ${named(nth)} ${clean ? 'clean' : 'resume'} ${expiry} s ${most || ''}`,
        when,
        async world => {
          const client = at(world, nth)
          const v5 = client.is.version === 5
          const wish: Wish = {
            clean,
            expirySeconds: v5 ? expiry : clean ? 0 : 86_400,
            ...(v5 && most > 0 && { receiveMaximum: most }),
          }
          const certain = client.session.life.mayHurry(wish)
          if (!certain && (client.overtaken || client.connecting)) await world.quiet()
          client.connect(wish)
          world.calm = false
          if (waits || !certain) await world.comesIn(client, wish)
        },
      ),
  )
const resume = pace.map(
  when =>
    new Command('everybody resumes', when, world => {
      for (const client of world.clients)
        if (client.away && client.session.life.mayHurry(client.lasting)) client.connect(client.lasting)
      world.calm = false
    }),
)
const lose = fc
  .tuple(pace, who, fc.constantFrom('cut' as const, 'cut' as const, 'frozen' as const))
  .map(([when, nth, how]) => new Command(`${how} ${named(nth)}`, when, world => at(world, nth).lose(how)))
const freeze = fc.tuple(pace, who).map(
  ([when, nth]) =>
    new Command(
      `freeze ${named(nth)}`,
      when,
      stirs(world => at(world, nth).freeze()),
    ),
)
const leave = fc.tuple(pace, who, fc.constantFrom(undefined, undefined, 0, 600)).map(
  ([when, nth, expiry]) =>
    new Command(`leave ${named(nth)} ${expiry ?? ''}`, when, async world => {
      const client = at(world, nth)
      // A CONNECT that was given up may take the session over before the DISCONNECT is read, and leave it as it was.
      if (expiry !== undefined && client.overtaken) await world.quiet()
      const changes = client.is.version === 5 && client.session.life.expirySeconds > 0
      client.leave(changes ? expiry : undefined)
      // Whoever comes back before the DISCONNECT arrives takes over what it was.
      if (changes && expiry !== undefined) await world.quiet()
    }),
)

// ---- filters, publishing, acknowledging ----

const filters = ({ is: { user } }: Client) => [
  `im/u/${user}/inbox`,
  `im/u/${user}/inbox`,
  'im/g/ops/message',
  'im/g/+/message',
  'im/u/+/inbox',
]
const subscribe = fc.tuple(pace, who, fc.nat(4)).map(
  ([when, nth, which]) =>
    new Command(
      `subscribe ${named(nth)} ${which}`,
      when,
      stirs(world => {
        const client = at(world, nth)
        client.subscribe(filters(client)[which] as string)
      }),
    ),
)
const unsubscribe = fc.tuple(pace, who, fc.nat(4)).map(
  ([when, nth, which]) =>
    new Command(
      `unsubscribe ${named(nth)} ${which}`,
      when,
      stirs(world => {
        const client = at(world, nth)
        client.unsubscribe(filters(client)[which] as string)
      }),
    ),
)
const publish = fc
  .tuple(
    pace,
    who,
    fc.record({
      group: fc.boolean(),
      qos: fc.constantFrom(1 as const, 1 as const, 2 as const, 0 as const),
      names: fc.boolean(),
      count: fc.constantFrom(1, 1, 2, 4),
    }),
  )
  .map(
    ([when, nth, { group, qos, names, count }]) =>
      new Command(
        `publish ${named(nth)} ${group ? 'group' : 'direct'} QoS ${qos}${names ? ' named' : ''} x${count}`,
        when,
        stirs(world => {
          const client = at(world, nth)
          const other = client.is.user === 'alice' ? 'bob' : 'alice'
          const [conversation, topic] = group ? [GROUP, 'im/g/ops/send'] : ['u:alice:bob', `im/u/${other}/send`]
          for (let i = 0; i < count; i++) client.outbox.publish(conversation as string, topic as string, qos, names)
        }),
      ),
  )
const repeat = fc.tuple(pace, who).map(
  ([when, nth]) =>
    new Command(
      `repeat ${named(nth)}`,
      when,
      stirs(world => at(world, nth).outbox.repeat()),
    ),
)
const acknowledge = fc.tuple(pace, who, fc.nat(20)).map(
  ([when, nth, which]) =>
    new Command(
      `acknowledge ${named(nth)} ${which}`,
      when,
      stirs(world => at(world, nth).acknowledge(which)),
    ),
)
const acknowledgeAll = fc.tuple(pace, who).map(
  ([when, nth]) =>
    new Command(
      `acknowledge ${named(nth)} all`,
      when,
      stirs(world => at(world, nth).acknowledgeAll()),
    ),
)

// ---- members, server, time ----

const change = fc.tuple(pace, fc.constantFrom('add' as const, 'add' as const, 'remove' as const, 'leave' as const)).map(
  ([when, what]) =>
    new Command(
      `${what} bob`,
      when,
      stirs(world => world.office.change(what)),
    ),
)
const crash = fc.tuple(pace, fc.boolean()).map(
  ([when, power]) =>
    new Command(
      power ? 'power cut' : 'kill -9',
      when,
      stirs(world => world.crash(power)),
    ),
)
const restart = pace.map(
  when =>
    new Command(
      'restart',
      when,
      stirs(world => world.restart()),
    ),
)
const quiet = pace.map(when => new Command('quiet', { ...when, steps: 0 }, world => world.quiet()))
const SHORT_MS = [300, FLUSHED_MS]
const pass = fc.tuple(pace, fc.constantFrom(300, FLUSHED_MS, FLUSHED_MS, 61_000, 90_000_000)).map(
  ([when, ms]) =>
    new Command(
      `pass ${ms} ms`,
      { ...when, steps: 0 },
      world => world.pass(ms),
      // What a session published and may publish again is forgotten with it.
      world => SHORT_MS.includes(ms) || (world.mayAge(ms) && world.clients.every(({ sending }) => !sending)),
    ),
)
/**
 * So many entries that the engine reads older ones in another way: its newest 512 of a conversation are in memory, others
 * in blocks of 32 from disk. An engine with buckets is to be given as many as fill one.
 */
const FLOOD = 530
const flood = pace.map(
  when =>
    new Command(
      'flood',
      when,
      stirs(world => world.office.flood(FLOOD)),
      world => world.log.tail(GROUP) < FLOOD,
    ),
)

const trim = fc.tuple(pace, fc.boolean(), fc.nat(100)).map(
  ([when, group, percent]) =>
    new Command(
      `trim ${percent} % of ${group ? 'group' : 'direct'}`,
      when,
      stirs(world => world.office.trim(group ? GROUP : 'u:alice:bob', percent / 100)),
    ),
)

// biome-ignore format: a table
export const command = fc.oneof(
  { weight: 120, arbitrary: publish }, { weight: 90, arbitrary: acknowledge }, { weight: 40, arbitrary: acknowledgeAll },
  { weight: 60, arbitrary: connect }, { weight: 15, arbitrary: resume }, { weight: 45, arbitrary: subscribe },
  { weight: 12, arbitrary: unsubscribe }, { weight: 10, arbitrary: repeat }, { weight: 30, arbitrary: lose },
  { weight: 6, arbitrary: freeze }, { weight: 12, arbitrary: leave }, { weight: 24, arbitrary: change },
  { weight: 6, arbitrary: crash }, { weight: 5, arbitrary: restart }, { weight: 40, arbitrary: quiet },
  { weight: 12, arbitrary: pass }, { weight: 8, arbitrary: trim }, { weight: 1, arbitrary: flood },
)
