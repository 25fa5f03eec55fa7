/** What a PUBLISH asks for: its topic's row and its bytes, as an operation and its input. */
import { Fault } from '../protocol/faults.ts'
import { parseJson, utf8 } from '../protocol/json.ts'
import { isOperation, type OperationName } from '../protocol/operations.ts'
import { matchTopic, TOPICS } from '../protocol/topics.ts'

export interface Inbound {
  topic: string
  payload: Uint8Array
}
export interface Request {
  operation: OperationName
  input: Record<string, unknown>
  /** Set for `{app}/call/…`: the answer goes to the reply topic. */
  call?: true
}

/** @throws Fault `no-such-topic` · `no-such-operation` · `malformed` */
export function requestOf({ topic, payload }: Inbound, app: string): Request {
  const match = matchTopic(topic)
  if (!match || TOPICS[match.row].from !== 'client' || match.app !== app) throw new Fault('no-such-topic')
  const { row, subject } = match
  switch (row) {
    case 'sendToUser':
      return { operation: 'sendMessageToUser', input: { ...draft(payload), user: subject } }
    case 'sendToGroup':
      return { operation: 'sendMessage', input: { ...draft(payload), conversation: `g:${subject}` } }
    case 'sendToDevice':
      return { operation: 'sendMessage', input: { ...draft(payload), conversation: `d:${subject}` } }
    case 'alert':
      return { operation: 'sendAlert', input: { ...draft(payload), device: subject } }
    case 'result':
      return { operation: 'sendResult', input: { ...draft(payload), device: subject } }
    case 'telemetry':
      return { operation: 'sendTelemetry', input: { ...telemetry(payload), device: subject } }
    case 'call':
      if (!isOperation(subject)) throw new Fault('no-such-operation')
      return { operation: subject, input: payload.length === 0 ? {} : object(payload), call: true }
    default:
      throw new Fault('no-such-topic')
  }
}

/** A JSON object is a draft; any other UTF-8 is a text, to the letter. */
function draft(payload: Uint8Array): Record<string, unknown> {
  const text = utf8(payload)
  if (!mayBeObject(payload)) return { text }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { text }
  }
  return isObject(value) ? (parseJson(text) as Record<string, unknown>) : { text }
}

function object(payload: Uint8Array): Record<string, unknown> {
  const value = parseJson(utf8(payload))
  if (!isObject(value))
    throw new Fault('malformed', { issues: [{ path: [], message: 'The payload must be a JSON object.' }] })
  return value
}

/** Kept as it was sent, whatever it is. */
const telemetry = (payload: Uint8Array) => ({ value: Buffer.from(payload).toString('base64'), encoding: 'base64' })

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const OPEN_BRACE = 0x7b
const SPACES = new Set([0x20, 0x09, 0x0a, 0x0d])
function mayBeObject(payload: Uint8Array): boolean {
  for (const byte of payload) if (!SPACES.has(byte)) return byte === OPEN_BRACE
  return false
}
