/** OpenAPI 3.1, printed from the catalogue. */
import type { z } from 'zod'
import { FAULTS, type FaultCode } from '../protocol/faults.ts'
import { accounts } from '../protocol/operations/accounts.ts'
import { devices } from '../protocol/operations/devices.ts'
import { groups } from '../protocol/operations/groups.ts'
import { type OperationName, type OperationRow, operationNames, rowOf } from '../protocol/operations.ts'
import { bodyRef, componentSchemas, namesMessages, refTo, resultRef, schemaOf, takesKey } from './schemas.ts'

/** Faults that any operation may answer with. */
const ALWAYS: FaultCode[] = [
  'malformed',
  'too-large',
  'too-many-requests',
  'internal',
  'log-unavailable',
  'shutting-down',
]
const SIGNED_IN: FaultCode[] = ['not-signed-in', 'bad-credentials', 'token-expired', 'token-revoked', 'not-allowed']

const NAMES_MESSAGE =
  'Where the body has no clientMessageId, one is made of it: a repeat is not stored again, for as long as clientMessageIds are known. Best a random UUID.'
const REPEATS =
  'Best a random UUID. Repeated with the same key within 24 hours, at whichever server, the request is not done again and gets the first answer. Only where the outcome is unknown (the server died, or answered 5xx) may a repeat do it once more. A repeat of what is still being done waits, for at most 30 s: then it is told `conflict`.'

export function openapi(version: string): object {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const name of operationNames) {
    const [method = '', path = ''] = rowOf(name).rest.split(' ')
    const at = path.replace(/:(\w+)/g, '{$1}')
    paths[at] = { ...paths[at], [method.toLowerCase()]: operation(name, rowOf(name)) }
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'im-server',
      version,
      description:
        'Instant messaging on MQTT: the REST half. Every operation is also reachable over MQTT, on `{app}/call/{operationId}`.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/v1' }],
    security: [{ token: [] }],
    tags: TAGS.map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: componentSchemas(),
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description:
            'An access token (`POST /v1/login`), a personal key (`POST /v1/me/keys`) or the key of a device.',
        },
      },
    },
  }
}

const TAGS = [
  ['accounts', 'Who someone is, and how they show it.'],
  ['groups', 'Who is in, who decides, what it is called.'],
  ['conversations', 'What was said, what is new, who has read it.'],
  ['devices', 'Things that report alerts and values, and take commands.'],
] as const

const tagOf = (name: OperationName): string =>
  name in accounts ? 'accounts' : name in groups ? 'groups' : name in devices ? 'devices' : 'conversations'

function operation(name: OperationName, row: OperationRow): object {
  return {
    operationId: name,
    tags: [tagOf(name)],
    summary: row.says,
    ...(row.may === 'anyone' && { security: [] }),
    parameters: [...parameters('path', row.path), ...parameters('query', row.query), ...idempotencyKey(row)],
    ...(row.body && { requestBody: { required: true, content: { 'application/json': { schema: bodyRef(name) } } } }),
    responses: { ...success(name, row), ...refusals(row) },
  }
}

function parameters(place: 'path' | 'query', shape: z.ZodRawShape | undefined): object[] {
  return Object.entries(shape ?? {}).map(([name, given]) => {
    const schema = given as z.ZodType
    return {
      name,
      in: place,
      required: place === 'path' || !schema.safeParse(undefined).success,
      schema: schemaOf(schema),
    }
  })
}

function idempotencyKey(row: OperationRow): object[] {
  if (!takesKey(row)) return []
  const description = namesMessages(row) ? NAMES_MESSAGE : REPEATS
  return [
    { name: 'Idempotency-Key', in: 'header', description, schema: { type: 'string', minLength: 1, maxLength: 255 } },
  ]
}

function success(name: OperationName, row: OperationRow): object {
  const status = row.status ?? 200
  if (status === 204) return { 204: { description: 'Done.' } }
  const content = { 'application/json': { schema: resultRef(name) } }
  const sends = status === 201 && namesMessages(row)
  return {
    [status]: { description: status === 201 ? 'Done, and stored.' : 'Done.', content },
    ...(sends && { 200: { description: 'A repeat: the entry stored first.', content } }),
  }
}

/** One response for each status, with the codes that it may carry. */
function refusals(row: OperationRow): object {
  const codes = new Set<FaultCode>([...row.faults, ...(row.may === 'anyone' ? [] : SIGNED_IN), ...ALWAYS])
  if (row.may.endsWith('member')) codes.add('not-a-member')
  if (takesKey(row) && !namesMessages(row)) codes.add('conflict')
  const byStatus = grouped(codes)
  return Object.fromEntries([...byStatus].map(([status, all]) => [status, refusal(all)]))
}

function grouped(codes: Iterable<FaultCode>): Map<number, FaultCode[]> {
  const byStatus = new Map<number, FaultCode[]>()
  for (const code of codes) byStatus.set(FAULTS[code].http, [...(byStatus.get(FAULTS[code].http) ?? []), code])
  return byStatus
}

const refusal = (codes: FaultCode[]) => ({
  description: codes.map(code => `\`${code}\`: ${FAULTS[code].says}`).join('\n\n'),
  content: {
    'application/problem+json': {
      schema: { allOf: [refTo('Problem'), { type: 'object', properties: { code: { enum: codes } } }] },
    },
  },
})
