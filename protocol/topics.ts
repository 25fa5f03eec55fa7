/** Every topic, once. Builders, matcher, access and the table in topics.md are read from these rows. */
import type { OperationName } from './operations.ts'

export interface TopicRow {
  /** `{app}`, `{user}`, `{group}`, `{device}` and `{operation}` stand for one level each. */
  pattern: string
  /** Who publishes: a client (then `operation` says what it means) or the server. */
  from: 'client' | 'server'
  operation?: OperationName | 'any'
  /** Who may publish or subscribe. `self`: the user or device named in the topic; `member`: of that group's or device's conversation. */
  who: 'anyone' | 'self' | 'member' | 'contact'
  qos: 0 | 1
  /** `durable`: read from the log, kept while away. `live`: lost when nobody listens. `retained`: the newest value waits. */
  life: 'durable' | 'live' | 'retained'
  payload: string
  says: string
}

const JSON_OR_TEXT = 'JSON object = draft; any other UTF-8 = text'

// biome-ignore format: a table, a row a line
export const TOPICS = {
  sendToUser: { pattern: '{app}/u/{user}/send', from: 'client', operation: 'sendMessageToUser', who: 'anyone', qos: 1, life: 'durable', payload: JSON_OR_TEXT, says: 'A message to that user.' },
  sendToGroup: { pattern: '{app}/g/{group}/send', from: 'client', operation: 'sendMessage', who: 'member', qos: 1, life: 'durable', payload: JSON_OR_TEXT, says: 'A message to that group.' },
  sendToDevice: { pattern: '{app}/d/{device}/send', from: 'client', operation: 'sendMessage', who: 'member', qos: 1, life: 'durable', payload: JSON_OR_TEXT, says: "A message to that device's conversation, from a user." },
  alert: { pattern: '{app}/d/{device}/alert', from: 'client', operation: 'sendAlert', who: 'self', qos: 1, life: 'durable', payload: '{ "severity", "text", … } or text', says: "An alert of the device, to all members of its conversation." },
  telemetry: { pattern: '{app}/d/{device}/telemetry', from: 'client', operation: 'sendTelemetry', who: 'self', qos: 1, life: 'retained', payload: 'anything, at most 64 KiB', says: "The device's newest value; it is retained on `last`." },
  result: { pattern: '{app}/d/{device}/result', from: 'client', operation: 'sendResult', who: 'self', qos: 1, life: 'durable', payload: 'JSON or text', says: 'The answer to a command.' },
  call: { pattern: '{app}/call/{operation}', from: 'client', operation: 'any', who: 'anyone', qos: 1, life: 'live', payload: 'JSON input with `requestId`', says: 'Any operation of the catalogue; the answer comes on `reply`.' },

  inbox: { pattern: '{app}/u/{user}/inbox', from: 'server', who: 'self', qos: 1, life: 'durable', payload: 'entry or gap', says: 'Every entry of every conversation of the user, own messages included.' },
  groupMessage: { pattern: '{app}/g/{group}/message', from: 'server', who: 'member', qos: 1, life: 'durable', payload: 'entry or gap', says: "The group's entries, for a client that wants only these." },
  deviceMessage: { pattern: '{app}/d/{device}/message', from: 'server', who: 'member', qos: 1, life: 'durable', payload: 'entry or gap', says: "The entries of the device's conversation." },
  command: { pattern: '{app}/d/{device}/command', from: 'server', who: 'self', qos: 1, life: 'durable', payload: 'entry or gap', says: 'Commands to the device.' },
  userReply: { pattern: '{app}/u/{user}/reply', from: 'server', who: 'self', qos: 1, life: 'live', payload: 'reply or refused', says: 'Answers and refusals, to the session that asked.' },
  deviceReply: { pattern: '{app}/d/{device}/reply', from: 'server', who: 'self', qos: 1, life: 'live', payload: 'reply or refused', says: 'Answers and refusals, to the session that asked.' },
  live: { pattern: '{app}/u/{user}/live', from: 'server', who: 'self', qos: 0, life: 'live', payload: 'receipt, typing, changed', says: 'What happens now and is not history.' },
  presence: { pattern: '{app}/u/{user}/presence', from: 'server', who: 'contact', qos: 1, life: 'retained', payload: '{ "user", "online", "since" }', says: 'Whether the user is connected. Nobody is told before there are contacts.' },
  last: { pattern: '{app}/d/{device}/last', from: 'server', who: 'member', qos: 1, life: 'retained', payload: 'as the device sent it', says: "The device's newest telemetry." },
} as const satisfies Record<string, TopicRow>

export type TopicName = keyof typeof TOPICS
export interface TopicMatch {
  row: TopicName
  app: string
  /** The user, group, device or operation of the topic. */
  subject: string
}

/** Builds a topic name. */
export function topic(row: TopicName, app: string, subject: string): string {
  return TOPICS[row].pattern.replace('{app}', app).replace(/\{(user|group|device|operation)\}/, subject)
}

// Keyed by the levels that a pattern fixes: second and, where it has one, fourth ("u/inbox"; "call").
const BY_SHAPE = new Map<string, TopicName>(
  (Object.keys(TOPICS) as TopicName[]).map(name => [shape(TOPICS[name].pattern.split('/')), name]),
)

function shape(levels: string[]): string {
  return levels.length === 3 ? `${levels[1]}` : `${levels[1]}/${levels[3]}`
}

/** The row of a topic name, or nothing where there is none. */
export function matchTopic(name: string): TopicMatch | undefined {
  const levels = name.split('/', 5)
  if (levels.length !== 3 && levels.length !== 4) return undefined
  const row = BY_SHAPE.get(shape(levels))
  return row && { row, app: levels[0] as string, subject: levels[2] as string }
}

/** Whether a topic filter takes a topic name [MQTT-4.7.1]. Filters that begin with a wildcard do not take `$` topics [MQTT-4.7.2-1]. */
export function filterTakes(filter: string, name: string): boolean {
  if (filter === name) return true
  if (name.startsWith('$') && (filter.startsWith('+') || filter.startsWith('#'))) return false
  const wanted = filter.split('/')
  const levels = name.split('/')
  for (let i = 0; i < wanted.length; i++) {
    if (wanted[i] === '#') return true
    if (i >= levels.length) return false
    if (wanted[i] !== '+' && wanted[i] !== levels[i]) return false
  }
  return wanted.length === levels.length
}

export const hasWildcard = (filter: string) => filter.includes('+') || filter.includes('#')

/** A filter is well formed if `#` stands alone in the last level and `+` alone in its own [MQTT-4.7.1-1, MQTT-4.7.1-2]. */
export function isFilter(filter: string): boolean {
  if (filter.length === 0 || filter.includes('\0') || filter.includes('\ufffd')) return false
  return filter
    .split('/')
    .every((level, i, all) => (level === '#' ? i === all.length - 1 : level === '+' || !hasWildcard(level)))
}

/** The rows of the server's topics that a filter could take, for some subject. `#` means `{app}/#`. */
export function rowsTaken(filter: string, app: string): TopicName[] {
  const wanted = filter.split('/')
  if (wanted[0] !== app && wanted[0] !== '+' && wanted[0] !== '#') return []
  return (Object.keys(TOPICS) as TopicName[]).filter(name => {
    const levels = TOPICS[name].pattern.split('/')
    return (
      TOPICS[name].from === 'server' &&
      wanted.every((level, i) => {
        if (level === '#') return true
        const own = levels[i]
        return own !== undefined && (level === '+' || own.startsWith('{') || own === level)
      }) &&
      (wanted.includes('#') || wanted.length === levels.length)
    )
  })
}
