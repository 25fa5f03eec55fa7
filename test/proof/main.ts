/**
 * `npm run proof`: plays every proof in full, one after the other, and keeps what each found in docs/trust.json, from which
 * docs/trust.md and the headline of the README are printed. `npm run proof -- power damage` plays only those.
 */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { PROOFS } from './table.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const record = join(root, 'docs/trust.json')

interface Outcome {
  claim: string
  command: string
  share: string
  date: string
  commit: string
  passed: boolean
  seconds: number
  figures: Record<string, number | string>
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter(name => !(name in PROOFS))
if (unknown.length > 0) {
  process.stderr.write(`There is no proof ${unknown.join(', ')}. There are ${Object.keys(PROOFS).join(', ')}.\n`)
  process.exit(2)
}
const outcomes: Record<string, Outcome> = existsSync(record) ? JSON.parse(readFileSync(record, 'utf8')) : {}
const commit = git('rev-parse', '--short=10', 'HEAD')
const isDirty = git('status', '--porcelain', '--untracked-files=no', '--', '.', ':!docs') !== ''

for (const [name, { claim, command, share }] of Object.entries(PROOFS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  process.stdout.write(`${name}: ${command}\n`)
  const startedAt = performance.now()
  const { passed, figures } = await play(command)
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  const date = new Date().toISOString().slice(0, 10)
  const at = isDirty ? `${commit} with changes` : commit
  outcomes[name] = { claim, command, share, date, commit: at, passed, seconds, figures }
  process.stdout.write(`  ${passed ? 'holds' : 'DOES NOT HOLD'} ${JSON.stringify(figures)} ${seconds} s\n`)
  const ordered = Object.keys(PROOFS).flatMap(key => (outcomes[key] ? [[key, outcomes[key]]] : []))
  writeFileSync(record, `${JSON.stringify(Object.fromEntries(ordered), null, 2)}\n`)
  if (!passed) process.exitCode = 1
}
execFileSync(process.execPath, [join(root, 'dist/server/documents.js')], { stdio: 'inherit' })

/** Runs a command; what it says as `figures {…}` is what it found. */
async function play(command: string): Promise<Pick<Outcome, 'passed' | 'figures'>> {
  const child = spawn(command, { cwd: root, shell: true, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<number | null>(resolve => child.on('close', code => resolve(code)))
  const figures: Outcome['figures'] = {}
  const said: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    const found = /^(?:# |ℹ )?figures (\{.*\})$/.exec(line.trim())?.[1]
    if (found) Object.assign(figures, JSON.parse(found))
    said.push(line)
  }
  const passed = (await ended) === 0
  if (!passed) process.stdout.write(`${said.slice(-200).join('\n')}\n`)
  return { passed, figures }
}

function git(...words: string[]): string {
  return execFileSync('git', words, { cwd: root, encoding: 'utf8' }).trim()
}
