/** The one way in: whatever asks for an operation, by REST or by MQTT, asks here. */
import { z } from 'zod'
import { Fault } from '../protocol/faults.ts'
import {
  type Input,
  type OPERATIONS,
  type OperationName,
  operationNames,
  type Result,
  rowOf,
} from '../protocol/operations.ts'
import type { Caller, Device, Known, Turn, User } from './caller.ts'
import type { StoredEntry } from './entry.ts'

/** The caller that a row's `may` lets through. */
interface Callers {
  anyone: Caller
  user: User
  caller: Known
  device: Device
  member: Known
  'group-member': User
}
type CallerOf<K extends OperationName> = Callers[(typeof OPERATIONS)[K]['may']]

/** A result, or its stored form: entries need not be parsed to be sent. */
export type Output<T> = T extends { kind: string; seq: number }
  ? T | StoredEntry
  : T extends { items: (infer I)[] }
    ? Omit<T, 'items'> & { items: Output<I>[] }
    : T extends { last?: unknown }
      ? Omit<T, 'last'> & { last?: StoredEntry }
      : T

export type Handlers = {
  [K in OperationName]: (caller: CallerOf<K>, input: Input<K>, turn?: Turn) => Promise<Output<Result<K>>>
}

/** Told of every operation, once. Never throws. */
export interface Observer {
  ran(name: OperationName, caller: Caller, tookMs: number, fault?: Fault): void
}

export type Run = <K extends OperationName>(
  name: K,
  caller: Caller,
  raw: unknown,
  turn?: Turn,
) => Promise<Output<Result<K>>>

export interface Gates {
  /** Of the conversation, or the group, that the input names. Settled at once where the answer is at hand. @throws Fault */
  member(caller: Known, input: { conversation?: string; group?: string }): Promise<void> | void
}

interface Needs {
  handlers: Handlers
  gates: Gates
  observer: Observer
  now: () => number
}

export function runner({ handlers, gates, observer, now }: Needs): Run {
  async function run<K extends OperationName>(
    name: K,
    caller: Caller,
    raw: unknown,
    turn?: Turn,
  ): Promise<Output<Result<K>>> {
    const startedAt = now()
    try {
      const input = checked(name, raw)
      permit(name, caller)
      if (rowOf(name).may.endsWith('member')) {
        // Awaited only when it must be: what is permitted at once is enqueued within this call, in the caller's order.
        const pending = gates.member(caller as Known, input as { conversation?: string; group?: string })
        if (pending) await pending
      }
      const handler = handlers[name] as unknown as (
        caller: Caller,
        input: Input<K>,
        turn?: Turn,
      ) => Promise<Output<Result<K>>>
      const output = await handler(caller, input, turn)
      observer.ran(name, caller, now() - startedAt)
      return output
    } catch (thrown) {
      const fault = Fault.from(thrown)
      observer.ran(name, caller, now() - startedAt, fault)
      throw fault
    }
  }
  return run
}

function permit(name: OperationName, caller: Caller): void {
  const { may } = rowOf(name)
  if (may === 'anyone') return
  if (caller.kind === 'nobody') throw new Fault('not-signed-in')
  if (may === 'user' && caller.kind !== 'user') throw new Fault('not-allowed')
  if (may === 'device' && caller.kind !== 'device') throw new Fault('not-allowed')
  if (may === 'group-member' && caller.kind !== 'user') throw new Fault('not-allowed')
}

// ---- validation ----

interface Schemas {
  named: z.ZodObject
  names: ReadonlySet<string>
  body: z.ZodType | undefined
}
const SCHEMAS = new Map(
  operationNames.map((name): [OperationName, Schemas] => {
    const row = rowOf(name)
    const shape = { ...row.path, ...row.query }
    return [name, { named: z.strictObject(shape), names: new Set(Object.keys(shape)), body: row.body }]
  }),
)

/** The flat request, taken apart into what path and query name and what is body, each checked. */
function checked<K extends OperationName>(name: K, raw: unknown): Input<K> {
  const { named, names, body } = SCHEMAS.get(name) as Schemas
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw))
    throw refused([{ path: [], message: 'The request must be an object.' }])
  const inPath: Record<string, unknown> = {}
  const rest: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(raw)) (names.has(key) ? inPath : rest)[key] = value
  const head = named.safeParse(body ? inPath : { ...inPath, ...rest })
  const tail = body?.safeParse(rest)
  const issues = [...(head.error?.issues ?? []), ...(tail?.error?.issues ?? [])]
  if (issues.length > 0) throw refused(issues)
  return { ...head.data, ...(tail?.data as object | undefined) } as Input<K>
}

interface Issue {
  path: PropertyKey[]
  message: string
  params?: { code?: string } | undefined
}
function refused(issues: readonly Issue[]): Fault {
  const tooLarge = issues.some(issue => issue.params?.code === 'too-large')
  return new Fault(tooLarge ? 'too-large' : 'malformed', {
    issues: issues.slice(0, 10).map(({ path, message }) => ({ path: path.map(String), message })),
  })
}
