/** Who may subscribe to what, asked at SUBSCRIBE. What a filter delivers is asked again at every send. */
import type { Known } from '../core/caller.ts'
import type { Memberships } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'
import { DeviceId, GroupId, ofDevice, ofGroup } from '../protocol/ids.ts'
import { hasWildcard, isFilter, matchTopic, rowsTaken, TOPICS, type TopicMatch } from '../protocol/topics.ts'
import { replyTopic } from './answers.ts'

/** MQTT 5 has codes of its own for these two. */
const TOPIC_FILTER_INVALID = 0x8f
const SHARED_NOT_SUPPORTED = 0x9e
/** Longer than any topic that exists, response topics included. Filters are kept with the session. */
const MAX_FILTER = 256

export interface Refusal {
  /** SUBACK code of MQTT 5; 3.1.1 has 0x80 for all. */
  suback: number
}

/** The granted QoS, or why not. A filter without wildcards must be readable now; one with them must fit a row. */
export async function grant(
  filter: string,
  qos: number,
  caller: Known,
  memberships: Pick<Memberships, 'get'>,
): Promise<0 | 1 | Refusal> {
  if (filter.length > MAX_FILTER || !isFilter(filter)) return { suback: TOPIC_FILTER_INVALID }
  if (filter.startsWith('$share/')) return { suback: SHARED_NOT_SUPPORTED }
  const granted = qos > 0 ? 1 : 0
  if (hasWildcard(filter)) return rowsTaken(filter, caller.app).length > 0 ? granted : refusal('no-such-topic')
  // Where MQTT 5 clients want the answers to their calls.
  if (filter.startsWith(`${replyTopic(caller)}/`)) return granted
  const match = matchTopic(filter)
  if (!match || TOPICS[match.row].from !== 'server' || match.app !== caller.app) return refusal('no-such-topic')
  if (!(await mayRead(match.row, match.subject, caller, memberships))) return refusal('not-allowed')
  return TOPICS[match.row].qos === 0 ? 0 : granted
}

/** Of a row for oneself or for members. */
async function mayRead(
  row: keyof typeof TOPICS,
  subject: string,
  caller: Known,
  memberships: Pick<Memberships, 'get'>,
): Promise<boolean> {
  const ofDevices = TOPICS[row].pattern.startsWith('{app}/d/')
  const own = caller.member === (ofDevices ? `d:${subject}` : subject)
  // Contacts do not exist yet: presence is one's own.
  if (TOPICS[row].who !== 'member') return own
  const id = ofDevices ? DeviceId.safeParse(subject) : GroupId.safeParse(subject)
  if (!id.success) return false
  const conversation = ofDevices ? ofDevice(id.data as DeviceId) : ofGroup(id.data as GroupId)
  return (await memberships.get(caller.app, caller.member, conversation)) !== undefined
}

/** Whether a client may have a will on a topic of a client's row. */
export async function grantsWill(
  { row, subject }: TopicMatch,
  caller: Known,
  memberships: Pick<Memberships, 'get'>,
): Promise<boolean> {
  if (row === 'call' || (row === 'sendToDevice' && caller.kind === 'device')) return false
  return TOPICS[row].who === 'anyone' ? caller.kind === 'user' : mayRead(row, subject, caller, memberships)
}

const refusal = (code: 'no-such-topic' | 'not-allowed'): Refusal => ({ suback: new Fault(code).row.suback ?? 0x87 })
