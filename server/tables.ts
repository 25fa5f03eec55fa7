/** The tables of the manual, as Markdown, printed from what the code runs on. */
import { FAULTS, type FaultCode, type FaultRow } from '../protocol/faults.ts'
import { operationNames, rowOf } from '../protocol/operations.ts'
import { TOPICS, type TopicRow } from '../protocol/topics.ts'

type Row = readonly (string | number)[]

function markdown(head: Row, rows: readonly Row[]): string {
  // A bar would end the cell.
  const line = (cells: Row) => `| ${cells.map(cell => String(cell).replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n')
}
const code = (text: string) => `\`${text}\``
const hex = (value: number | undefined) =>
  value === undefined ? '' : `0x${value.toString(16).padStart(2, '0').toUpperCase()}`

const topicRows = (from: TopicRow['from']): TopicRow[] =>
  Object.values<TopicRow>(TOPICS).filter(row => row.from === from)

/** What a client publishes. */
export const publishTable = (): string =>
  markdown(
    ['publish to', 'who', 'payload', 'means', 'operation'],
    topicRows('client').map(({ pattern, who, payload, says, operation }) => [
      code(pattern),
      WHO[who],
      payload,
      says,
      operation === undefined || operation === 'any' ? '' : code(operation),
    ]),
  )

/** What a client subscribes to. */
export const subscribeTable = (): string =>
  markdown(
    ['subscribe to', 'who', 'QoS', 'kept', 'payload', 'means'],
    topicRows('server').map(({ pattern, who, qos, life, payload, says }) => [
      code(pattern),
      WHO[who],
      qos,
      life,
      payload,
      says,
    ]),
  )

const WHO: Record<TopicRow['who'], string> = {
  anyone: 'anyone signed in',
  self: 'the one in the topic',
  member: 'members',
  contact: 'contacts',
}

/** Every operation, by its name on `{app}/call/{operation}`, with its REST address. */
export const operationTable = (): string =>
  markdown(
    ['operation', 'REST, below `/v1`', 'who', 'means'],
    operationNames.map(name => [code(name), code(rowOf(name).rest), rowOf(name).may, rowOf(name).says]),
  )

/** Every refusal, with its status and codes. */
export const faultTable = (): string =>
  markdown(
    ['code', 'HTTP', 'PUBACK', 'SUBACK', 'CONNACK 5', 'CONNACK 3.1.1', 'DISCONNECT', 'final', 'says'],
    (Object.entries(FAULTS) as [FaultCode, FaultRow][]).map(([name, row]) => [
      code(name),
      row.http,
      hex(row.puback),
      hex(row.suback),
      hex(row.connack5),
      row.connack ?? '',
      hex(row.disconnect),
      row.final ? 'yes' : 'no',
      row.says,
    ]),
  )
