/** AsyncAPI 3.0 with MQTT bindings, printed from the topic table. */
import { OPERATIONS, operationNames, rowOf } from '../protocol/operations.ts'
import { TOPICS, type TopicName, type TopicRow } from '../protocol/topics.ts'
import { bodyRef, componentSchemas, type JsonSchema, refTo } from './schemas.ts'

const names = Object.keys(TOPICS) as TopicName[]
const BINDING = '0.2.0'

export function asyncapi(version: string): object {
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'im-server',
      version,
      description:
        'Instant messaging on MQTT 3.1.1 and 5, over TCP, TLS and WebSocket (`/mqtt`). A PUBACK of a message means that it is stored. `receive` is what the server takes, `send` what it gives.',
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    defaultContentType: 'application/json',
    servers: servers(),
    channels: Object.fromEntries(names.map(name => [name, channel(name, TOPICS[name])])),
    operations: Object.fromEntries(names.map(name => [name, operation(name, TOPICS[name])])),
    components: {
      schemas: componentSchemas(),
      securitySchemes: {
        account: {
          type: 'userPassword',
          description:
            'Username `{user}`, `{app}/{user}` or `{app}/d/{device}`; password an access token, a personal key, or the key of the device.',
        },
      },
    },
  }
}

function servers(): object {
  const security = [{ $ref: '#/components/securitySchemes/account' }]
  const bindings = { mqtt: { bindingVersion: BINDING } }
  const server = (host: string, protocol: string, more: object = {}) => ({
    host,
    protocol,
    ...more,
    security,
    bindings,
  })
  return {
    tcp: server('localhost:1883', 'mqtt'),
    tls: server('localhost:8883', 'mqtts'),
    webSocket: server('localhost:8080', 'ws', { pathname: '/mqtt' }),
  }
}

function channel(name: TopicName, row: TopicRow): object {
  const parameters = [...row.pattern.matchAll(/\{(\w+)\}/g)].map(([, key = '']) => [key, parameter(key)])
  return {
    address: row.pattern,
    description: row.says,
    messages: { [name]: message(name, row) },
    parameters: Object.fromEntries(parameters),
  }
}

function parameter(key: string): object {
  if (key === 'app') return { description: 'The tenant.', default: 'im' }
  if (key === 'operation') return { description: 'An operation of the catalogue.', enum: operationNames }
  return { description: `The id of a ${key}.` }
}

function message(name: TopicName, row: TopicRow): object {
  const text = row.payload.includes('text') || row.payload.startsWith('any') || row.payload.startsWith('as ')
  return {
    name,
    summary: row.payload,
    contentType: text ? 'text/plain' : 'application/json',
    payload: payload(name),
    bindings: { mqtt: { payloadFormatIndicator: 1, bindingVersion: BINDING } },
  }
}

const TEXT: JsonSchema = { type: 'string', description: 'Plain text, UTF-8.' }

function payload(name: TopicName): JsonSchema {
  switch (name) {
    case 'sendToUser':
    case 'sendToGroup':
    case 'sendToDevice':
      return { anyOf: [refTo('Draft'), TEXT] }
    case 'alert':
      return { anyOf: [bodyRef('sendAlert'), TEXT] }
    case 'result':
      return { anyOf: [bodyRef('sendResult'), TEXT] }
    case 'telemetry':
    case 'last':
      return { description: 'As the device sends it, at most 64 KiB.' }
    case 'call':
      return { type: 'object', required: ['requestId'], properties: { requestId: { type: 'string' } } }
    case 'inbox':
    case 'groupMessage':
    case 'deviceMessage':
      return { anyOf: [refTo('Entry'), refTo('Gap')] }
    case 'command':
      return refTo('Entry')
    case 'userReply':
    case 'deviceReply':
      return refTo('Reply')
    case 'live':
      return refTo('Live')
    case 'presence':
      return refTo('Presence')
    default:
      return name satisfies never
  }
}

function operation(name: TopicName, row: TopicRow): object {
  const means = row.operation && row.operation !== 'any' ? ` The same as the operation \`${row.operation}\`.` : ''
  return {
    action: row.from === 'client' ? 'receive' : 'send',
    channel: { $ref: `#/channels/${name}` },
    title:
      row.operation && row.operation in OPERATIONS ? rowOf(row.operation as keyof typeof OPERATIONS).says : row.says,
    summary: row.says,
    description: `${WHO[row.who]} ${LIFE[row.life]}${means}`,
    messages: [{ $ref: `#/channels/${name}/messages/${name}` }],
    bindings: {
      mqtt: { qos: row.qos, retain: row.life === 'retained' && row.from === 'server', bindingVersion: BINDING },
    },
  }
}

const WHO = {
  anyone: 'Anyone signed in.',
  self: 'The user or device of the topic itself.',
  member: 'Members of the conversation.',
  contact: "The user's contacts.",
}
const LIFE = {
  durable: 'Durable: kept while a session is away.',
  live: 'Live: lost when nobody listens.',
  retained: 'Retained: the newest value waits for whoever comes.',
}
