/**
 * The catalogue: every operation, once. REST and `{app}/call/{operation}` are two doors to the same function;
 * validation, permission, the SDK's methods, OpenAPI, AsyncAPI and the manual are read from these rows.
 */
import type { z } from 'zod'
import type { FaultCode } from './faults.ts'
import { accounts } from './operations/accounts.ts'
import { conversations } from './operations/conversations.ts'
import { devices } from './operations/devices.ts'
import { groups } from './operations/groups.ts'

/**
 * Who may ask. `user`: a person; `caller`: a person or a device; `member`: a person or a device in `input.conversation`;
 * `group-member`: a person in `input.group`. Anything finer (roles, windows) is the feature's.
 */
export type May = 'anyone' | 'user' | 'caller' | 'device' | 'member' | 'group-member'

export interface OperationRow {
  says: string
  may: May
  /** `METHOD /path/:parameter`, below `/v1`. */
  rest: string
  /** Status of success; 200 unless given. 204 has no body. A repeated send answers 200. */
  status?: 200 | 201 | 204
  path?: z.ZodRawShape
  query?: z.ZodRawShape
  /** An object schema. On MQTT its fields stand beside those of path and query. */
  body?: z.ZodType
  output: z.ZodType
  faults: readonly FaultCode[]
}

export const OPERATIONS = { ...accounts, ...groups, ...conversations, ...devices } as const satisfies Record<
  string,
  OperationRow
>

export type OperationName = keyof typeof OPERATIONS

type Fields<S> = S extends z.ZodRawShape ? z.output<z.ZodObject<S>> : unknown
type Given<S> = S extends z.ZodRawShape ? z.input<z.ZodObject<S>> : unknown
type Part<R, K extends string> = R extends { [key in K]: infer P } ? P : undefined
type Body<R> = Part<R, 'body'> extends z.ZodType ? z.output<Part<R, 'body'>> : unknown
type BodyGiven<R> = Part<R, 'body'> extends z.ZodType ? z.input<Part<R, 'body'>> : unknown

/** What a feature gets: checked, with defaults. */
export type Input<K extends OperationName> = Fields<Part<(typeof OPERATIONS)[K], 'path'>> &
  Fields<Part<(typeof OPERATIONS)[K], 'query'>> &
  Body<(typeof OPERATIONS)[K]>
/** What a client sends, in one flat object. */
export type Request<K extends OperationName> = Given<Part<(typeof OPERATIONS)[K], 'path'>> &
  Given<Part<(typeof OPERATIONS)[K], 'query'>> &
  BodyGiven<(typeof OPERATIONS)[K]>
/** What a client gets. */
export type Result<K extends OperationName> = z.output<(typeof OPERATIONS)[K]['output']>

export const operationNames = Object.keys(OPERATIONS) as OperationName[]
export const isOperation = (name: string): name is OperationName => Object.hasOwn(OPERATIONS, name)
export const rowOf = (name: OperationName): OperationRow => OPERATIONS[name]
