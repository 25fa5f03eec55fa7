/**
 * Items as chunks of lines. Where a chunk ends is said by the name of its last item, not by how much lies before it, so what
 * is added or changed in one place leaves the chunks elsewhere as they were.
 */
import { crc32 } from 'node:zlib'
import type { Item } from '../../storage/open.ts'
import { lineOf } from './lines.ts'

const MIN_BYTES = 8 * 1024
const MAX_BYTES = 1024 * 1024
/** One name in so many ends a chunk. */
const SPACING = 128

/** The lines of items, each with its line end. */
export async function* chunked(source: AsyncIterable<readonly Item[]>): AsyncGenerator<Buffer> {
  let lines: string[] = []
  let bytes = 0
  const chunk = () => Buffer.from(lines.join(''))
  for await (const items of source)
    for (const item of items) {
      const line = `${lineOf(item)}\n`
      lines.push(line)
      bytes += line.length
      if (bytes < MIN_BYTES || (bytes < MAX_BYTES && crc32(nameOf(item)) % SPACING > 0)) continue
      yield chunk()
      lines = []
      bytes = 0
    }
  if (lines.length > 0) yield chunk()
}

function nameOf(item: Item): string {
  switch (item.kind) {
    case 'conversation':
      return item.conversation
    case 'entry':
    case 'remains':
      return `${item.conversation} ${item.seq}`
    case 'repeat':
      return `${item.conversation} ${item.from} ${item.clientMessageId}`
    case 'record':
      return `${item.table} ${item.partition} ${item.key}`
    default:
      return item satisfies never
  }
}
