/** The schemas of the catalogue as JSON Schema, each shared one once, below `components`. */
import { z } from 'zod'
import { LiveEvent, Presence, ReplyEvent } from '../protocol/events.ts'
import { Draft, Entry, Gap } from '../protocol/messages.ts'
import { Conversation, Device, Group, GroupMember, Profile } from '../protocol/operations/shapes.ts'
import { type OperationRow, operationNames, rowOf } from '../protocol/operations.ts'

export type JsonSchema = Record<string, unknown>

// biome-ignore format: a table, a row a line
const SHARED: Record<'input' | 'output', Record<string, z.ZodType>> = {
  input: { Draft },
  output: { Entry, Gap, Profile, Group, GroupMember, Conversation, Device, Reply: ReplyEvent, Live: LiveEvent, Presence },
}
const AT = '#/components/schemas/'

export const refTo = (id: string): JsonSchema => ({ $ref: AT + id })
const capital = (name: string) => name.charAt(0).toUpperCase() + name.slice(1)
/** Where the body of an operation is found. */
export const requestId = (name: string) => `${capital(name)}Request`
export const resultId = (name: string) => `${capital(name)}Result`

/** All components: the shared ones, and `…Request` and `…Result` of every operation that is not one of them. */
export function componentSchemas(): Record<string, JsonSchema> {
  return { ...print('input'), ...print('output'), Problem }
}

/** The schema of a parameter. */
export function schemaOf(schema: z.ZodType): JsonSchema {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return rest
}

/** Whether an Idempotency-Key is heeded. */
export const takesKey = ({ rest, may }: OperationRow) => rest.startsWith('POST') && may !== 'anyone'

/** Whether it sends what a clientMessageId may name. */
export const namesMessages = (row: OperationRow) => 'clientMessageId' in bodyFields(row)

/** Fields of an operation's body; of several shapes, those of the first. */
function bodyFields(row: OperationRow): JsonSchema {
  if (!row.body) return {}
  const { properties, oneOf } = schemaOf(row.body) as { properties?: JsonSchema; oneOf?: { properties?: JsonSchema }[] }
  return properties ?? oneOf?.[0]?.properties ?? {}
}

function print(io: 'input' | 'output'): Record<string, JsonSchema> {
  const registry = z.registry<{ id: string }>()
  for (const [id, schema] of Object.entries(SHARED[io])) registry.add(schema, { id })
  for (const name of operationNames) {
    const schema = io === 'input' ? rowOf(name).body : rowOf(name).output
    if (!schema || schema instanceof z.ZodUndefined || registry.has(schema)) continue
    registry.add(schema, { id: io === 'input' ? requestId(name) : resultId(name) })
  }
  const { schemas } = z.toJSONSchema(registry, { io, unrepresentable: 'any', uri: id => AT + id, override: open(io) })
  return Object.fromEntries(Object.entries(schemas).map(([id, { $schema, $id, ...rest }]) => [id, rest as JsonSchema]))
}

/** Fields are only ever added to what the server says, so a client must not refuse those that it does not know. */
const open = (io: 'input' | 'output') => (at: { jsonSchema: JsonSchema }) => {
  if (io === 'output' && at.jsonSchema.additionalProperties === false) delete at.jsonSchema.additionalProperties
}

/** The reference to an operation's body or result: a shared schema by its own name. */
export function bodyRef(name: (typeof operationNames)[number]): JsonSchema {
  const { body } = rowOf(name)
  return refTo(sharedName('input', body) ?? requestId(name))
}
export function resultRef(name: (typeof operationNames)[number]): JsonSchema {
  return refTo(sharedName('output', rowOf(name).output) ?? firstWith(name))
}

const sharedName = (io: 'input' | 'output', schema: z.ZodType | undefined) =>
  Object.entries(SHARED[io]).find(([, shared]) => shared === schema)?.[0]

/** Operations that share one schema object share the component of the first. */
function firstWith(name: (typeof operationNames)[number]): string {
  const { output } = rowOf(name)
  return resultId(operationNames.find(other => rowOf(other).output === output) ?? name)
}

const Problem: JsonSchema = {
  type: 'object',
  description: 'RFC 9457, with the stable `code` of the fault.',
  required: ['type', 'title', 'status', 'code', 'detail'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string' },
    detail: { type: 'string' },
    issues: {
      type: 'array',
      items: {
        type: 'object',
        properties: { path: { type: 'array', items: { type: 'string' } }, message: { type: 'string' } },
      },
    },
  },
}
