/** Answers to a session on its `reply` topic, or on the response topic that it gave. */
import { encode } from '../core/encode.ts'
import { Fault } from '../protocol/faults.ts'
import { topic } from '../protocol/topics.ts'
import type { Filters } from './filters.ts'
import { isDevice } from './filters.ts'
import type { InboundPublish } from './ingress.ts'
import type { Pump } from './pump.ts'
import type { SessionId } from './session-rows.ts'

/** A result larger than this is refused: the caller asks for a smaller page. */
const MAX_REPLY_BYTES = 1024 * 1024
/** In a larger payload that was refused its `clientMessageId` is not looked for. */
const MAX_LOOKED_INTO_BYTES = 512 * 1024

export interface Question {
  requestId: string
  /** MQTT 5 [MQTT-3.3.2-14]. */
  responseTopic?: string | undefined
  correlationData?: Uint8Array | undefined
}

interface Asker {
  id: SessionId
  filters: Filters
  pump: Pump
}

export const replyTopic = ({ app, member }: Pick<SessionId, 'app' | 'member'>) =>
  isDevice(member) ? topic('deviceReply', app, member.slice(2)) : topic('userReply', app, member)

export function answer(asker: Asker, question: Question, result: unknown): void {
  const body = result === undefined ? Buffer.from('null') : encode(result)
  if (body.length > MAX_REPLY_BYTES) {
    fail(asker, question, new Fault('too-large'))
    return
  }
  const head = Buffer.from(`{"kind":"reply","requestId":${JSON.stringify(question.requestId)},"ok":true,"result":`)
  tell(asker, Buffer.concat([head, body, Buffer.from('}')]), question)
}

export function fail(asker: Asker, question: Question, fault: Fault): void {
  const { requestId } = question
  const event = { kind: 'reply', requestId, ok: false, code: fault.code, says: fault.message, ...fault.details }
  tell(asker, Buffer.from(JSON.stringify(event)), question)
}

/** A publish was refused for good, where its acknowledgement cannot say so. */
export function refused(
  asker: Asker,
  { topic, payload }: Pick<InboundPublish, 'topic' | 'payload'>,
  fault: Fault,
): void {
  const clientMessageId = clientMessageIdOf(payload)
  const event = { kind: 'refused', code: fault.code, says: fault.message, ...fault.details, topic, clientMessageId }
  tell(asker, Buffer.from(JSON.stringify(event)))
}

/** As well as it can be told from a payload that was refused. */
function clientMessageIdOf(payload: Uint8Array): string | undefined {
  if (payload.length > MAX_LOOKED_INTO_BYTES) return undefined
  try {
    const { clientMessageId } = JSON.parse(Buffer.from(payload).toString()) as { clientMessageId?: unknown }
    return typeof clientMessageId === 'string' && clientMessageId.length <= 64 ? clientMessageId : undefined
  } catch {
    return undefined
  }
}

function tell({ id, filters, pump }: Asker, payload: Buffer, question?: Question): void {
  const route = filters.of(question?.responseTopic ?? replyTopic(id))
  if (!route) return
  pump.tell({
    topic: route.topic,
    payload,
    qos: route.qos,
    packetId: 0,
    dup: false,
    retain: false,
    subscriptionIds: route.subscriptionIds,
    correlationData: question?.correlationData,
  })
}
