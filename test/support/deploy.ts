/** Reads what `deploy/` holds: YAML and its breaches of a schema, variables of a compose file, instructions of a Dockerfile. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Ajv } from 'ajv'
import { parseAllDocuments } from 'yaml'
import { ROOT } from '../../server/documents.ts'

// What a file says is only known when it was read.
export type Tree = { [key: string]: Tree }
export const NOTHING: Tree = {}
/** A list of words, where one stands. */
export const words = (tree: Tree | undefined) => (tree ?? []) as unknown as string[]

export const text = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** The documents of a YAML file; anchors and merges as compose reads them. */
export function documents(source: string): Tree[] {
  return parseAllDocuments(source, { merge: true }).map(document => {
    if (document.errors.length > 0) throw document.errors[0]
    return document.toJS() as Tree
  })
}

export type Schema = { [key: string]: unknown }

/** What of a value does not fit the schema, which may be one that the validator knows by name. */
export const breaches = (ajv: Ajv, schema: Schema | string, value: unknown): string[] => {
  const check = typeof schema === 'string' ? ajv.getSchema(schema) : ajv.compile(schema)
  assert.ok(check, `there is no schema ${schema}`)
  check(value)
  return (check.errors ?? []).map(
    ({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`,
  )
}

export const filesBelow = (path: string, pattern: RegExp): string[] =>
  (readdirSync(join(ROOT, path), { recursive: true }) as string[])
    .filter(name => pattern.test(name))
    .map(name => `${path}/${name}`)

/** Names of the settings that a text sets or names. */
export const settingsIn = (source: string): string[] => [...new Set(source.match(/\bIM_[A-Z0-9_]+\b/g) ?? [])]

export interface Variable {
  name: string
  /** `:-` gives a default, `:?` demands. */
  operator: string | undefined
  rest: string
}

/** `${NAME:-default}` and its kin; `$$` is a dollar of the container. */
export function variablesOf(source: string): Variable[] {
  return [...source.replaceAll('$$', '').matchAll(/\$\{(\w+)(?:(:?[-?+])([^}]*))?\}/g)].map(
    ([, name = '', operator, rest = '']) => ({ name, operator, rest }),
  )
}

/** As compose puts them in. @throws Error: a variable that is demanded and not given, as compose says it. */
export function interpolate(source: string, given: Record<string, string>): string {
  return source
    .split('$$')
    .map(part =>
      part.replace(/\$\{(\w+)(?:(:?[-?+])([^}]*))?\}/g, (_, name: string, operator?: string, rest = '') => {
        if (given[name]) return given[name]
        if (operator === ':?') throw new Error(`required variable ${name} is missing a value: ${rest}`)
        return operator === ':-' ? rest : ''
      }),
    )
    .join('$')
}

export interface Instruction {
  name: string
  words: string[]
  /** All after the name, lines joined. */
  rest: string
}

/** The stages of a Dockerfile, each from its FROM on; what stands before the first is stage 0. */
export function stagesOf(source: string): Instruction[][] {
  const lines = source
    .replace(/^\s*#.*$\n?/gm, '')
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter(line => line.trim() !== '')
  const stages: Instruction[][] = [[]]
  for (const line of lines) {
    const [name = '', ...words] = line.trim().split(/\s+/)
    if (name === 'FROM') stages.push([])
    stages.at(-1)?.push({ name, words, rest: words.join(' ') })
  }
  return stages
}
