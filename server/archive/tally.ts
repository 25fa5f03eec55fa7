/**
 * Counts and hashes of an archive's lines. A conversation's hash is SHA-256 of its lines. What is compared between engines,
 * which may keep their items in different orders, is the digest of each kind: the sum, modulo 2^256, of its lines' SHA-256.
 */
import { createHash, type Hash, hash } from 'node:crypto'
import type { ConversationKey } from '../../core/ports.ts'
import type { Item } from '../../storage/open.ts'
import { HEAD, lineOf } from './lines.ts'

// biome-ignore format: a table
const KINDS = { conversation: 'conversations', entry: 'entries', remains: 'remains', repeat: 'repeats', record: 'records' } as const
type Kind = (typeof KINDS)[keyof typeof KINDS]
export interface Totals extends Record<Kind, { count: number; digest: string }> {
  kind: 'total'
  /** Of all lines before this one. */
  sha256: string
}

export class Tally {
  readonly #sums: Record<Kind, Sum> = {
    conversations: new Sum(),
    entries: new Sum(),
    remains: new Sum(),
    repeats: new Sum(),
    records: new Sum(),
  }
  readonly #whole = createHash('sha256')
  #log: { conversation: ConversationKey; hash: Hash; entries: number } | undefined
  lines = 0

  /** The lines of an archive's beginning. */
  begin(): string {
    return this.#written([HEAD])
  }

  /** The lines of the next items. */
  add(items: readonly Item[]): string {
    const lines: string[] = []
    let from = 0
    for (const item of items) {
      if (item.kind === 'conversation' || (item.kind === 'record' && this.#log)) {
        this.#hashed(lines, from)
        lines.push(...this.#end())
        from = lines.length
      }
      if (item.kind === 'conversation')
        this.#log = { conversation: item.conversation, hash: createHash('sha256'), entries: 0 }
      else if (item.kind === 'entry' && this.#log) this.#log.entries++
      const line = lineOf(item)
      this.#sums[KINDS[item.kind]].add(line)
      lines.push(line)
    }
    this.#hashed(lines, from)
    return this.#written(lines)
  }

  /** The lines of the end. */
  finish(): { text: string; totals: Totals } {
    const text = this.#written(this.#end())
    const kinds = Object.entries(this.#sums).map(([kind, sum]) => [kind, sum.total()])
    const totals = { kind: 'total', ...Object.fromEntries(kinds), sha256: this.#whole.digest('hex') } as Totals
    return { text: `${text}${JSON.stringify(totals)}\n`, totals }
  }

  #hashed(lines: readonly string[], from: number): void {
    if (this.#log && lines.length > from) this.#log.hash.update(`${lines.slice(from).join('\n')}\n`)
  }

  #end(): string[] {
    const log = this.#log
    this.#log = undefined
    if (!log) return []
    const { conversation, entries } = log
    return [JSON.stringify({ kind: 'end', conversation, entries, sha256: log.hash.digest('hex') })]
  }

  #written(lines: readonly string[]): string {
    if (lines.length === 0) return ''
    const text = `${lines.join('\n')}\n`
    this.lines += lines.length
    this.#whole.update(text)
    return text
  }
}

class Sum {
  #count = 0
  /** 256 bits, the lowest word first. */
  readonly #words = new Uint32Array(8)

  add(line: string): void {
    this.#count++
    const bytes = hash('sha256', line, 'buffer')
    let carry = 0
    for (let word = 0; word < 8; word++) {
      const sum = (this.#words[word] as number) + bytes.readUInt32LE(word * 4) + carry
      this.#words[word] = sum
      carry = sum > 0xffff_ffff ? 1 : 0
    }
  }

  total(): { count: number; digest: string } {
    return { count: this.#count, digest: Buffer.from(this.#words.buffer).toString('hex') }
  }
}

/** Sentences about what differs. */
export function differences(found: Totals, wanted: Totals): string[] {
  return Object.values(KINDS).flatMap(kind => {
    const [is, should] = [found[kind], wanted[kind]]
    if (is.count !== should.count) return `There are ${is.count} ${kind}, not ${should.count}.`
    return is.digest === should.digest ? [] : `The ${is.count} ${kind} are not the same ones.`
  })
}

export const spoken = ({ conversations, entries, records }: Totals): string =>
  `${entries.count} entries of ${conversations.count} conversations and ${records.count} records`
