/** Items of many conversations together: most of them are short. */
import type { Item } from './archive.ts'

const AT_ONCE = 1_000
const BYTES = 1024 * 1024

export async function* gathered(source: AsyncIterable<readonly Item[]>): AsyncGenerator<Item[]> {
  let batch: Item[] = []
  let bytes = 0
  for await (const items of source) {
    for (const item of items) {
      batch.push(item)
      bytes += 'json' in item ? item.json.length : 0
    }
    if (batch.length < AT_ONCE && bytes < BYTES) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}
