/** What sessions of a fault run have to get: every conversation of its user up to its end. */
import type { Person } from '../support/person.ts'

export interface Other {
  name: string
  user: string
  /** The number of the server that it is connected to, where it knows. */
  on?: number
  /** What it said is answered. */
  idle?: boolean
  /** Says nothing new. */
  stop?(): void
  end(): void
}

/** The newest number of each conversation, 0 where nothing was said. */
export type Ends = ReadonlyMap<string, number>

interface Talk {
  group: string
  people: readonly Person[]
}

/** With one who may read it. */
export function conversationsOf({ group, people }: Talk): [string, Person][] {
  const pairs = people
    .filter((_, i) => i % 2 === 0)
    .map((person, i): [string, Person] => {
      const other = people[2 * i + 1] as Person
      return [`u:${[person.user, other.user].sort().join(':')}`, person]
    })
  return [[`g:${group}`, people[0] as Person], ...pairs]
}

export async function ends(talk: Talk): Promise<Ends> {
  const found = new Map<string, number>()
  for (const [id, person] of conversationsOf(talk)) {
    const { body } = await person.api('GET', `/conversations/${id}/messages?limit=1`)
    found.set(id, (body as { items?: { seq: number }[] }).items?.at(-1)?.seq ?? 0)
  }
  return found
}

/** What it has to have in the end, where `begin` is what was there when it subscribed. */
export function owed({ user }: Other, newest: Ends, begin?: Ends): { id: string; seq: number }[] {
  return [...newest]
    .filter(([id, seq]) => seq > (begin?.get(id) ?? 0) && (id.startsWith('g:') || id.split(':').includes(user)))
    .map(([id, seq]) => ({ id, seq }))
}
