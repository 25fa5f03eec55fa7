/** What commands ask of a server, or do themselves where none runs: by name, checked here. */
import { z } from 'zod'
import type { Core } from '../core/features.ts'
import { Fault } from '../protocol/faults.ts'
import { AppId, UserId } from '../protocol/ids.ts'
import { DisplayName, Password } from '../protocol/operations/shapes.ts'

const account = { app: AppId, user: UserId }
const after = z.string().optional()
const SHAPES = {
  listApps: z.strictObject({ after }),
  createApp: z.strictObject({ app: AppId, password: Password }),
  listUsers: z.strictObject({ app: AppId, after }),
  createUser: z.strictObject({ ...account, password: Password, name: DisplayName.optional() }),
  setPassword: z.strictObject({ ...account, password: Password }),
  logOut: z.strictObject({ ...account, keys: z.boolean() }),
  listKeys: z.strictObject(account),
  deleteKey: z.strictObject({ ...account, id: z.string() }),
} satisfies Record<keyof Operator, z.ZodType>

type Operator = Core['operator']
export type Wish = keyof Operator
export type Asked<W extends Wish> = z.input<(typeof SHAPES)[W]>
export type Given<W extends Wish> = Awaited<ReturnType<Operator[W]>>

/** @throws Fault `malformed` · `no-such-operation`, and those of the operation */
export async function perform(operator: Operator, name: string, asked: unknown): Promise<unknown> {
  if (!Object.hasOwn(SHAPES, name)) throw new Fault('no-such-operation')
  const wish = name as Wish
  const parsed = SHAPES[wish].safeParse(asked)
  if (!parsed.success)
    throw new Fault('malformed', { issues: parsed.error.issues.map(({ path, message }) => ({ path, message })) })
  return operator[wish](parsed.data as never)
}
