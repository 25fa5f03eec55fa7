/**
 * The format of an export: a JSON object a line, UTF-8. A line with `kind` and `format`; then what is stored, a line for
 * each item, a conversation's lines one behind the other and closed by an `end`; then the `total`. The last field of an
 * entry or a record is what clients or features wrote, to the letter.
 */
import type { ConversationKey } from '../../core/ports.ts'
import { Entry, type EntryKind } from '../../protocol/messages.ts'
import type { EntryItem, Item, RecordItem, RemainsItem } from '../../storage/open.ts'

export const FORMAT = 1
export const HEAD = `{"kind":"export","format":${FORMAT}}`

const text = JSON.stringify as (value: string) => string
const ENTRY = ',"entry":'
const ROW = ',"row":'

export function lineOf(item: Item): string {
  switch (item.kind) {
    case 'conversation': {
      const { kind, conversation, seq, n, sentAt, first, forgotten } = item
      return JSON.stringify({ kind, conversation, seq, n, sentAt, first, forgotten })
    }
    case 'entry': {
      const retracted = item.retracted ? ',"retracted":true' : ''
      return `{"kind":"entry","conversation":${text(item.conversation)}${retracted}${ENTRY}${item.json}}`
    }
    case 'remains': {
      const { kind, conversation, seq, n, entryKind, from, sentAt } = item
      return open({ kind, conversation, seq, n, of: entryKind, from, sentAt }, ENTRY, item.json)
    }
    case 'repeat': {
      const { kind, conversation, from, clientMessageId, seq, crc, length } = item
      return JSON.stringify({ kind, conversation, from, clientMessageId, seq, crc, length })
    }
    case 'record': {
      const { kind, table, partition, key, version } = item
      return open({ kind, table, partition, key, version }, ROW, item.json)
    }
    default:
      return item satisfies never
  }
}

/** An object with one more field, which is text already. */
const open = (fields: object, name: string, json: string) => `${JSON.stringify(fields).slice(0, -1)}${name}${json}}`

/** What a line says. Undefined: it is of the export itself. @throws SyntaxError: it is none of ours */
export function itemOf(line: string): Item | undefined {
  const parsed = JSON.parse(line) as Item & { entry?: unknown; row?: unknown }
  switch (parsed.kind) {
    case 'conversation':
    case 'repeat':
      return parsed
    case 'entry':
      return entryOf(parsed as EntryItem & { entry: unknown }, line)
    case 'remains': {
      const { kind, conversation, seq, n, of: entryKind, from, sentAt } = parsed as RemainsItem & { of: EntryKind }
      return { kind, conversation, seq, n, entryKind, from, sentAt, json: last(line, ENTRY) }
    }
    case 'record':
      return recordOf(parsed, line)
    default:
      return undefined
  }
}

function entryOf(
  { conversation, retracted, entry }: { conversation: ConversationKey; retracted?: boolean; entry: unknown },
  line: string,
): EntryItem {
  const { seq, n, kind, from, sentAt } = Entry.parse(entry)
  const facts = { seq, n, entryKind: kind, from, sentAt } as Pick<
    EntryItem,
    'seq' | 'n' | 'entryKind' | 'from' | 'sentAt'
  >
  return { kind: 'entry', conversation, ...facts, retracted: retracted === true, json: last(line, ENTRY) }
}

function recordOf({ table, partition, key, version }: RecordItem, line: string): RecordItem {
  return { kind: 'record', table, partition, key, version, json: last(line, ROW) }
}

/** Within a JSON text no quote stands before a comma unless it ends one, so the first such name is the field's. */
function last(line: string, name: string): string {
  const at = line.indexOf(name)
  if (at === -1) throw new SyntaxError(`A line has no ${name}`)
  return line.slice(at + name.length, -1)
}
