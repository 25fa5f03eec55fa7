/** What runs of commands found, made short: each is played in several orders, and was wrong once. */
import { type Client, inbox } from './client.ts'
import { FLUSHED_MS, type World } from './world.ts'

const at = (world: World, nth: number) => world.clients[nth] as Client
/** Of MQTT 5. */
const bob = (world: World) => at(world, 1)
const alice = (world: World) => at(world, 0)

async function say(world: World): Promise<void> {
  alice(world).outbox.publish('g:ops', 'im/g/ops/send', 1, false)
  await world.quiet()
}

export const FOUND: [says: string, play: (world: World) => Promise<void>][] = [
  [
    'a position of before is gone with the filter, also of a conversation that the member has left',
    async world => {
      await world.office.change('leave')
      bob(world).unsubscribe(inbox('bob'))
      await world.quiet()
      bob(world).subscribe(inbox('bob'))
      await world.quiet()
      await world.office.change('add')
    },
  ],
  [
    'an acknowledgement that comes behind UNSUBSCRIBE brings no position back',
    async world => {
      await say(world)
      bob(world).unsubscribe(inbox('bob'))
      await world.quiet()
      bob(world).acknowledgeAll()
      await world.pass(FLUSHED_MS)
      await world.office.change('leave')
      bob(world).subscribe(inbox('bob'))
      await world.quiet()
      bob(world).lose('cut')
      await world.office.change('add')
    },
  ],
  [
    'a session that ends with its connection tells the gap that its state of before knows of',
    async world => {
      await world.office.change('leave')
      bob(world).lose('cut')
      await world.comesIn(bob(world), { clean: false, expirySeconds: 0 })
      await world.office.change('add')
    },
  ],
  [
    'a session that has acknowledged nothing yet is told of the gap too',
    async world => {
      await world.office.change('leave')
      bob(world).lose('cut')
      await world.comesIn(bob(world), { clean: true, expirySeconds: 60 })
      bob(world).subscribe(inbox('bob'))
      await world.quiet()
      await world.office.change('add')
      await world.quiet()
      await say(world)
      bob(world).lose('cut')
      await world.quiet()
      await world.office.change('remove')
      await world.office.change('add')
    },
  ],
  [
    'an UNSUBSCRIBE whose connection ends in the middle leaves what is in flight',
    async world => {
      await say(world)
      bob(world).unsubscribe(inbox('bob'))
      await world.steps(2 + world.dice.below(12))
      await world.restart()
    },
  ],
  [
    'a power cut behind DISCONNECT leaves nothing of the session that ended',
    async world => {
      bob(world).leave(0)
      await world.quiet()
      await world.crash(true)
      await world.office.change('leave')
      await world.comesIn(bob(world), bob(world).lasting)
      bob(world).subscribe(inbox('bob'))
      await world.quiet()
      await world.office.change('add')
    },
  ],
  [
    'what a session published is known when it comes again, also after the session has expired',
    async world => {
      bob(world).outbox.publish('g:ops', 'im/g/ops/send', 1, false)
      await world.reached(() => world.log.tail('g:ops') > 1)
      bob(world).lose('cut')
      await world.pass(100_000)
    },
  ],
  [
    'what is removed while it waits to be sent again is not shown again',
    async world => {
      for (let i = 0; i < 3; i++) await say(world)
      bob(world).lose('cut')
      await world.comesIn(bob(world), { clean: false, expirySeconds: 60, receiveMaximum: 1 })
      await world.office.trim('g:ops', 0.8)
    },
  ],
]
