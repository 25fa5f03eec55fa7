/** Fills a database from items: with the rows that the server would have written, and beside each batch a note of it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Table } from '../../core/ports.ts'
import type { EntryItem, Item, RecordItem, RemainsItem, Restoration } from '../archive.ts'
import { part } from '../shape.ts'
import { itemsOf } from './archive.ts'
import { indexKeys, recordKey, recordValue } from './changes.ts'
import { Engine, type Level, type Write } from './engine.ts'
import { dedupValue, entryRow, tailValue } from './entries.ts'
import { CannotOpen, checkMeta } from './meta.ts'
import { blank, dedupKey, HEAD, seal, tailKey, whole } from './rows.ts'

const NOTE = 'n'
const EMPTY = new Uint8Array(0)

export class LevelRestoration implements Restoration {
  readonly #level: Level
  readonly #engine: Engine
  readonly #indexed: ReadonlyMap<string, Table<never>>
  readonly #finish: () => Promise<void>

  private constructor(level: Level, tables: readonly Table<never>[], finish: () => Promise<void>) {
    this.#level = level
    this.#engine = new Engine(level)
    this.#indexed = new Map(tables.map(table => [table.name, table]))
    this.#finish = finish
  }

  /** `finish` puts the closed database where a server opens it. @throws CannotOpen: it is not one that is being filled */
  static async over(level: Level, tables: readonly Table<never>[], finish: () => Promise<void>): Promise<Restoration> {
    const restoration = new LevelRestoration(level, tables, finish)
    await checkMeta(restoration.#engine, 0)
    return restoration
  }

  async noted(): Promise<string | undefined> {
    const value = await this.#engine.get(NOTE)
    return value && whole(NOTE, value).toString('utf8', HEAD)
  }

  put(items: readonly Item[], note: string): Promise<void> {
    const writes = items.flatMap(item => this.#rows(item))
    const noted = blank(Buffer.byteLength(note))
    noted.write(note, HEAD)
    return this.#engine.write([...writes, [NOTE, seal(NOTE, noted)]], false)
  }

  items(): AsyncIterable<Item[]> {
    return itemsOf(this.#level)
  }

  async finish(): Promise<void> {
    await this.#engine.write([[NOTE, undefined]], true)
    await this.#level.close()
    await this.#finish()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#level.close()
  }

  #rows(item: Item): Write[] {
    switch (item.kind) {
      case 'conversation': {
        const key = tailKey(item.conversation)
        return [[key, tailValue(key, item)]]
      }
      case 'entry':
        return [entryWrite(item, item.retracted)]
      case 'remains':
        return [entryWrite(item, true)]
      case 'repeat': {
        const key = dedupKey(item.conversation, item.from, part(item.clientMessageId))
        const { seq, crc, length } = item
        return [[key, dedupValue(key, { seq, fingerprint: { crc, length } })]]
      }
      case 'record':
        return this.#record(item)
      default:
        return item satisfies never
    }
  }

  #record({ table: name, version, json, ...at }: RecordItem): Write[] {
    const key = recordKey({ name }, at)
    const table = this.#indexed.get(name)
    const places = table ? indexKeys(table, at, JSON.parse(json) as object) : []
    return [[key, recordValue(key, version, json)], ...places.map(place => [place, seal(place, blank(0))] as const)]
  }
}

function entryWrite(item: EntryItem | RemainsItem, retracted: boolean): Write {
  const { conversation, entryKind: kind, json, ...facts } = item
  const { key, value } = entryRow(conversation, { ...facts, kind }, json, EMPTY, retracted)
  return [key, value]
}

/** What stays in a directory where a database was to be filled, or copied to, and was not yet to the end. */
export const UNFINISHED = { import: 'level.import', restore: 'level.restore' } as const

const unfinished = (directory: string, how: keyof typeof UNFINISHED) =>
  new CannotOpen(
    `What \`im ${how}\` began in ${directory} is not finished: run it again, or remove ${UNFINISHED[how]} there.`,
  )

/** Why no server may start where there is no database. */
export function unfinishedIn(directory: string): CannotOpen | undefined {
  const how = (['import', 'restore'] as const).find(how => existsSync(join(directory, UNFINISHED[how])))
  return how && unfinished(directory, how)
}

/** Whether one of them can begin, or go on, in a directory. @throws CannotOpen */
export function mustBeEmpty(directory: string, how: keyof typeof UNFINISHED): void {
  const there = (name: string) => existsSync(join(directory, name))
  const other = how === 'import' ? 'restore' : 'import'
  if (there(UNFINISHED[other])) throw unfinished(directory, other)
  // At its end a restore puts the one there before the other.
  const begun = how === 'restore' && there(UNFINISHED.restore)
  const found = ['level', ...(begun ? [] : ['last-commit'])].find(there)
  if (found !== undefined)
    throw new CannotOpen(
      `${join(directory, found)} is there already: set IM_DATA_DIR to a directory without a database.`,
    )
}
