/** A result as JSON. Entries go out as the bytes that they are stored as: they are not parsed to be sent. */
import { StoredEntry } from './entry.ts'

const OPEN = Buffer.from('{"items":[')
const COMMA = Buffer.from(',')
const CLOSE = Buffer.from(']}')

export function encode(result: unknown): Buffer {
  if (result instanceof StoredEntry)
    return Buffer.from(result.bytes.buffer, result.bytes.byteOffset, result.bytes.byteLength)
  if (isPage(result) && result.items.some(item => item instanceof StoredEntry)) return page(result)
  return Buffer.from(JSON.stringify(result) ?? 'null')
}

function page({ items, next }: Page): Buffer {
  const parts: Uint8Array[] = [OPEN]
  items.forEach((item, i) => {
    if (i > 0) parts.push(COMMA)
    parts.push(item instanceof StoredEntry ? item.bytes : Buffer.from(JSON.stringify(item)))
  })
  parts.push(next === undefined ? CLOSE : Buffer.from(`],"next":${JSON.stringify(next)}}`))
  return Buffer.concat(parts)
}

interface Page {
  items: unknown[]
  next?: string
}
const isPage = (result: unknown): result is Page =>
  typeof result === 'object' && result !== null && Array.isArray((result as Page).items)
