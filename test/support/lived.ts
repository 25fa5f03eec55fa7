/** A server that has been used: people, a group, a device, a recall, and messages that wait for a phone. */
import { range } from '../contracts/ground.ts'
import type { Person } from './person.ts'
import type { TestServer } from './server.ts'

export async function lived(server: TestServer, messages: number): Promise<{ alice: Person; bob: Person }> {
  const { alice, bob } = await server.people('alice', 'bob')
  await alice.group('ops', bob)
  await alice.api('POST', '/devices', { device: 'pump-1', group: 'ops' })
  const phone = await bob.connect(5)
  await phone.subscribe(bob.inbox)
  await phone.disconnect()
  for (const n of range(1, messages))
    await alice.api('POST', '/conversations/g:ops/messages', { text: `${n} 八点见`, clientMessageId: `c${n}` })
  await alice.api('POST', '/conversations/g:ops/messages/3/recall')
  await bob.api('PUT', '/conversations/g:ops/read', { upTo: 4 })
  return { alice, bob }
}
