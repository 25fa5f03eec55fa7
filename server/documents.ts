/**
 * `npm run docs`: prints the tables of the manual into its pages, between `<!-- name -->` and `<!-- /name -->`. What
 * stands between is never typed by hand; test/repo.test.ts compares.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { commandTable } from './commands.ts'
import { settingsTable } from './config.ts'
import { faultTable, operationTable, publishTable, subscribeTable } from './tables.ts'
import { clusterFaults, trustHeadline, trustSections } from './trust.ts'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))
export const PAGES = ['README.md', 'README.zh-CN.md', 'topics.md', 'docs/trust.md', 'docs/faults.md'] as const

// biome-ignore format: a table, a row a line
const BLOCKS: Record<string, () => string> = {
  settings: settingsTable,
  commands: commandTable,
  faults: faultTable,
  operations: operationTable,
  publish: publishTable,
  subscribe: subscribeTable,
  headline: () => trustHeadline(ROOT, 'en'),
  'headline-zh': () => trustHeadline(ROOT, 'zh'),
  proofs: () => trustSections(ROOT),
  'cluster-faults': () => clusterFaults(ROOT),
}
/** Commands are the same in every language: they are taken from the first page. */
const SHARED = ['tour', 'tour-sdk']

/** A page as it should be. */
export function printed(page: string): string {
  const text = readFileSync(join(ROOT, page), 'utf8')
  return text.replace(/<!-- ([a-z-]+) -->\n([\s\S]*?)<!-- \/\1 -->/g, (_, name: string, body: string) => {
    const content = SHARED.includes(name) ? shared(page, name, body) : block(page, name)
    return `<!-- ${name} -->\n${content}<!-- /${name} -->`
  })
}

function block(page: string, name: string): string {
  const print = BLOCKS[name]
  if (!print) throw new Error(`${page} has a block that nothing prints: ${name}`)
  return `${print()}\n`
}

function shared(page: string, name: string, body: string): string {
  if (page === PAGES[0]) return body
  const first = readFileSync(join(ROOT, PAGES[0]), 'utf8')
  return new RegExp(`<!-- ${name} -->\n([\\s\\S]*?)<!-- /${name} -->`).exec(first)?.[1] ?? body
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href)
  for (const page of PAGES.filter(page => existsSync(join(ROOT, page)))) {
    writeFileSync(join(ROOT, page), printed(page))
    process.stdout.write(`${page}\n`)
  }
