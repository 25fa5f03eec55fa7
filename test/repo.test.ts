/** The repository holds to its own rules: who imports whom, sizes, legal codes, and documents that are current. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { test } from 'node:test'
import { FAULTS, type FaultRow } from '../protocol/faults.ts'
import { operationNames, rowOf } from '../protocol/operations.ts'
import { PAGES, printed, ROOT } from '../server/documents.ts'
import { INDEXED, PLACED } from '../server/stored.ts'

const FOLDERS = ['protocol', 'core', 'storage', 'broker', 'api', 'sdk', 'server', 'test', 'bench']
const files = FOLDERS.filter(folder => existsSync(join(ROOT, folder))).flatMap(folder =>
  (readdirSync(join(ROOT, folder), { recursive: true }) as string[])
    .filter(name => /\.(ts|mjs|js)$/.test(name))
    .map(name => `${folder}/${name}`),
)
const source = new Map(files.map(file => [file, readFileSync(join(ROOT, file), 'utf8')]))
const product = files.filter(file => !/^(test|bench)\//.test(file))

/** What a file imports: ours as paths from the root, others by their names. */
function importsOf(file: string): string[] {
  const text = source.get(file) ?? ''
  const specifiers = [
    ...text.matchAll(/^\s*(?:import|export)\b[^'"`;]*?\bfrom\s+'([^']+)'/gm),
    ...text.matchAll(/^\s*import\s+'([^']+)'/gm),
    ...text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g),
  ].map(match => match[1] ?? '')
  return specifiers.map(name => (name.startsWith('.') ? posix.join(posix.dirname(file), name) : name))
}

const isOurs = (name: string) => FOLDERS.includes(name.split('/')[0] ?? '') && name.includes('/')
const PORTS = /^core\/(ports|entry|caller)\.ts$/
const DOOR = /^core\/(ports|entry|caller|run|encode|due)\.ts$/

// biome-ignore format: a table, a row a line
const MAY_IMPORT: Record<string, RegExp[]> = {
  protocol: [/^protocol\//],
  core: [/^protocol\//, /^core\//],
  storage: [/^protocol\//, PORTS, /^storage\//],
  broker: [/^protocol\//, DOOR, /^broker\//],
  api: [/^protocol\//, DOOR, /^api\//],
  sdk: [/^protocol\//, /^sdk\//],
  server: [/^protocol\//, /^core\//, /^storage\/open\.ts$/, /^broker\/broker\.ts$/, /^api\/app\.ts$/, /^server\//],
}

test('imports point inwards', () => {
  const breaches = product.flatMap(file => {
    const allowed = MAY_IMPORT[file.split('/')[0] ?? ''] ?? []
    return importsOf(file)
      .filter(name => isOurs(name) && !allowed.some(pattern => pattern.test(name)))
      .map(name => `${file} imports ${name}`)
  })
  assert.deepEqual(breaches, [])
})

test('the import table sees imports in each of their forms', () => {
  source.set(
    'api/sample.ts',
    "import '../a/b.ts'\nimport {\n  x,\n} from '../c/d.ts'\nexport * from './e.ts'\nawait import('zod')\n",
  )
  const seen = importsOf('api/sample.ts').sort()
  source.delete('api/sample.ts')
  assert.deepEqual(seen, ['a/b.ts', 'api/e.ts', 'c/d.ts', 'zod'])
})

test('protocol imports zod and nothing else, and the SDK nothing of Node', () => {
  const foreign = (folder: string) =>
    product.filter(file => file.startsWith(`${folder}/`)).flatMap(file => importsOf(file).filter(name => !isOurs(name)))
  assert.deepEqual([...new Set(foreign('protocol'))], ['zod'])
  assert.deepEqual(
    foreign('sdk').filter(name => name.startsWith('node:')),
    [],
  )
})

test('only the broker knows Aedes, and only the server and storage open anything', () => {
  const owners: [RegExp, RegExp][] = [
    [/^(aedes|mqtt-packet)/, /^broker\//],
    [/^(classic-level|memory-level|abstract-level)/, /^storage\//],
    [/^(ioredis|cassandra-driver)$/, /^storage\//],
    [/^(koa|@koa\/)/, /^api\//],
    [/^(node:http|node:https|node:net|node:tls|ws)$/, /^(server|api|broker)\//],
    [/^node:(fs|fs\/promises)$/, /^(server|storage|api)\//],
  ]
  const breaches = product.flatMap(file =>
    importsOf(file)
      .filter(name => owners.some(([what, where]) => what.test(name) && !where.test(file)))
      .map(name => `${file} imports ${name}`),
  )
  assert.deepEqual(breaches, [])
})

test('log, sessions and pump can be simulated: no timers, clocks or chance of the machine', () => {
  const machine = /\b(setTimeout|setInterval|setImmediate|Date\.now|performance\.now|Math\.random)\b/
  const simulable = /^(core\/|broker\/(pump|cursor|window|session|sessions|delivery|sender|record|filters)\.ts)/
  const breaches = product.filter(file => simulable.test(file) && machine.test(withoutComments(source.get(file) ?? '')))
  assert.deepEqual(breaches, [])
})

const withoutComments = (text: string) => text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')

test('every table with indexes is known to what checks, and fills, whole databases', () => {
  const indexed = product.flatMap(file =>
    [...(source.get(file) ?? '').matchAll(/\btable<[^(]*>\(\s*'([\w-]+)',\s*\{/g)].map(match => match[1]),
  )
  assert.ok(indexed.length > 4)
  assert.deepEqual(indexed.sort(), INDEXED.map(({ name }) => name).sort())
})

test('every table whose rows are apart is known to what fills a cluster', () => {
  const apart = product.flatMap(file =>
    (source.get(file) ?? '').split(/\b(?=table<)/).flatMap(text => {
      const [, name = ''] = /^table<[^(]*>\(\s*'([\w-]+)'/.exec(text) ?? []
      return name && /\bspread: true/.test(text.split(/\n(?=\S)(?!\))|\n\n/)[0] ?? '') ? [name] : []
    }),
  )
  assert.ok(apart.length > 8)
  assert.deepEqual(apart.sort(), PLACED.flatMap(({ name, spread }) => (spread ? [name] : [])).sort())
})

test('the environment is read in one file', () => {
  const readers = product.filter(file => withoutComments(source.get(file) ?? '').includes('process.env'))
  assert.deepEqual(readers, ['server/config.ts'])
})

test('no file has more than 250 lines', () => {
  const long = files.filter(file => (source.get(file) ?? '').split('\n').length > 251)
  assert.deepEqual(long, [])
})

test('every file begins with what it is for', () => {
  const silent = product.filter(file => !/^(#!.*\n)?\/\*\*/.test(source.get(file) ?? ''))
  assert.deepEqual(silent, [])
})

test('printed documents are current', () => {
  for (const page of PAGES)
    assert.equal(readFileSync(join(ROOT, page), 'utf8'), printed(page), `${page} is not current: run npm run docs`)
})

// MQTT 5, tables 3-1 (CONNACK), 3-4 (PUBACK), 3.9.3 (SUBACK), 3-10 (DISCONNECT, sent by a server); MQTT 3.1.1, table 3.1.
// biome-ignore format: a table, a row a line
const LEGAL: Record<'connack' | 'connack5' | 'puback' | 'suback' | 'disconnect', number[]> = {
  connack: [1, 2, 3, 4, 5],
  connack5: [0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f],
  puback: [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  suback: [0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2],
  disconnect: [0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2],
}

const faults: [string, FaultRow][] = Object.entries(FAULTS)

test('every reason code of a fault is legal for its packet', () => {
  for (const [code, row] of faults)
    for (const packet of Object.keys(LEGAL) as (keyof typeof LEGAL)[]) {
      const value = row[packet]
      if (value !== undefined)
        assert.ok(LEGAL[packet].includes(value), `${code}: 0x${value.toString(16)} is not legal for ${packet}`)
    }
})

test('a CONNECT is refused in both versions or in neither, and a temporary fault can end a connection', () => {
  for (const [code, row] of faults) {
    assert.equal(row.connack === undefined, row.connack5 === undefined, `${code}: CONNACK of one version only`)
    assert.ok(row.final || row.disconnect !== undefined, `${code}: temporary, so it needs a DISCONNECT`)
    assert.ok(row.http >= 400 && row.http < 600, `${code}: ${row.http} is no refusal`)
  }
})

test('every operation has an address of its own, and names its path parameters', () => {
  const addresses = operationNames.map(name => rowOf(name).rest.replace(/:\w+/g, ':'))
  assert.equal(new Set(addresses).size, addresses.length)
  for (const name of operationNames) {
    const row = rowOf(name)
    const inPath = [...row.rest.matchAll(/:(\w+)/g)].map(([, key]) => key)
    assert.deepEqual(inPath.sort(), Object.keys(row.path ?? {}).sort(), name)
  }
})
