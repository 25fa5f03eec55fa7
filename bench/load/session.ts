/** People coming online: persistent sessions, subscribed to everything that is theirs. */
import { each } from '../machine.ts'
import type { Target } from '../targets/target.ts'
import { connectPacket, decode, disconnectPacket, subscribePacket, type Version } from '../wire/packets.ts'
import { Wire } from '../wire/wire.ts'

/** Resolves when the subscriptions are granted. @throws Error when the connection or a filter is refused */
export function comeOnline(target: Target, person: number, version: Version): Promise<Wire> {
  return new Promise((resolve, reject) => {
    const refuse = (why: string) => {
      reject(new Error(`${target.name}: person ${person} ${why}`))
      wire.destroy()
    }
    const wire = new Wire({ port: target.mqttPort(person) }, version, {
      closed: () => refuse('was disconnected before being subscribed'),
      packet: (type, flags, body) => {
        const packet = decode(version, type, flags, body)
        if (packet.type === 'connack' && packet.code !== 0) refuse(`is refused with ${packet.code}`)
        if (packet.type !== 'suback') return
        if (packet.codes.some(code => code > 2)) refuse(`may not subscribe: ${packet.codes}`)
        wire.ears = {}
        resolve(wire)
      },
    })
    const properties = version === 5 ? { sessionExpiryInterval: 3_600 } : {}
    wire.write(connectPacket(version, { ...target.login(person), clean: false, properties }))
    const filters = target.filters(person).map(filter => ({ filter, qos: 1 as const }))
    wire.write(subscribePacket(version, 1, filters))
  })
}

/** All of these people, by number. */
export async function allOnline(target: Target, people: readonly number[], version: Version) {
  const wires = new Map<number, Wire>()
  await each(people, 64, async person => wires.set(person, await comeOnline(target, person, version)))
  return wires
}

export async function goOffline(wires: Iterable<Wire>): Promise<void> {
  await Promise.all(
    [...wires].map(wire => {
      const closed = new Promise<void>(done => {
        wire.ears = { closed: done }
      })
      wire.write(disconnectPacket(wire.version))
      wire.flush()
      wire.stream.end()
      return wire.closed ? undefined : closed
    }),
  )
}
