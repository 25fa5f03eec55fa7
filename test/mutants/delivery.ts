/** Faults of who gets what, and when: members, hand-over from the log, the pump and its window. */
import type { Mutant } from './mutants.ts'

export const DELIVERY: readonly Mutant[] = [
  {
    name: 'whether somebody is in is looked at only when they connect or subscribe',
    file: 'broker/delivery.ts',
    find: 'for (const member of left) for (const session of this.of(app, member)) session.leaves(conversation, seq)',
    put: 'void left',
    verdict: 'not-a-member',
  },
  {
    name: 'what waits for somebody who was removed is still sent',
    file: 'broker/pump.ts',
    find: '    cursor.left = true\n    this.#behind.delete(cursor)\n',
    put: '    void cursor\n',
    verdict: 'not-a-member',
  },
  {
    name: 'sessions are told of a removal after the entry was given out',
    file: 'core/members.ts',
    find: 'if (change) for (const listener of this.#listeners) listener(change)',
    put: 'if (change) void Promise.resolve().then(() => this.#listeners.forEach(listener => listener(change)))',
    verdict: 'not-a-member',
  },
  {
    name: 'the entry with which somebody came in is not given to them',
    file: 'broker/cursor.ts',
    find: '    this.sent = floor\n',
    put: '    this.sent = floor + 1\n',
    verdict: 'undelivered',
  },
  {
    name: 'the end is read before the conversation is listened to',
    file: 'broker/following.ts',
    find: `      const fresh = current.flatMap(membership => this.#listen(membership) ?? [])
      const tails = await log.tails(fresh.map(cursor => cursor.key))
`,
    put: `      const keys = current.map(({ conversation }) => keyOf(app, conversation))
      const all = await log.tails(keys)
      const fresh = current.flatMap(membership => this.#listen(membership) ?? [])
      const tails = fresh.map(cursor => all[keys.indexOf(cursor.key)])
`,
    verdict: 'undelivered',
  },
  {
    name: 'the end is not looked at after listening',
    file: 'broker/following.ts',
    find: '        cursor.tail = Math.max(cursor.tail, tails[i]?.seq ?? 0)\n',
    put: '',
    verdict: 'undelivered',
  },
  {
    name: 'a new entry overtakes what waits',
    file: 'broker/pump.ts',
    find: 'this.#started && cursor.sent === entry.seq - 1 && cursor.sent >= cursor.floor',
    put: 'this.#started && cursor.sent >= cursor.floor',
    verdict: 'gap',
  },
  {
    name: 'a reader far behind is told a gap instead of what it waits for',
    file: 'broker/pump.ts',
    find: 'this.#sender.gaps(cursor, first.seq - 1)',
    put: 'this.#sender.gaps(cursor, entries.length > 3 ? cursor.tail : first.seq - 1)',
    verdict: 'gap',
  },
  {
    name: 'an acknowledgement does not start a full window again',
    file: 'broker/pump.ts',
    find: `    this.#sender.acked(packetId)
    // Refilled at once: a reader whose PUBACKs wait in Nagle's buffer gets the TCP acknowledgement with our next packet.
    if (`,
    put: `    this.#sender.acked(packetId)
    if (this.#closed && `,
    verdict: 'undelivered',
  },
  {
    name: 'an entry for which there is no room counts as sent',
    file: 'broker/pump.ts',
    find: '    if (!sent) cursor.sent = sentBefore\n',
    put: '    void sentBefore\n',
    verdict: 'undelivered',
  },
  {
    name: 'a packet id is given twice',
    file: 'broker/window.ts',
    find: 'while (this.inFlight.has(this.#lastId))',
    put: 'while (this.#lastId === 0)',
    verdict: 'doubled',
  },
]
