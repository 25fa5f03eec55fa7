/**
 * `npm run proof`: plays every proof in full, one after the other, and keeps what each found in docs/trust.json, from which
 * docs/trust.md, docs/faults.md and the headline of the README are printed. `npm run proof -- power faults/clock` plays only
 * those.
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

/** A proof of several parts is as many of them, each kept when it is played. */
const plays = Object.entries(PROOFS).flatMap(([name, { parts, ...proof }]) =>
  parts
    ? Object.entries(parts).map(([part, file]) => {
        const command = proof.command.replace('PART', part).replace('FILE', file)
        return { name: `${name}/${part}`, ...proof, command }
      })
    : [{ name, ...proof }],
)
const wanted = process.argv.slice(2)
const isMeant = (name: string, word: string) => name === word || name.startsWith(`${word}/`)
const unknown = wanted.filter(word => !plays.some(({ name }) => isMeant(name, word)))
if (unknown.length > 0) {
  process.stderr.write(
    `There is no proof ${unknown.join(', ')}. There are ${plays.map(({ name }) => name).join(', ')}.\n`,
  )
  process.exit(2)
}
const outcomes: Record<string, Outcome> = existsSync(record) ? JSON.parse(readFileSync(record, 'utf8')) : {}
const commit = git('rev-parse', '--short=10', 'HEAD')
const isDirty = git('status', '--porcelain', '--untracked-files=no', '--', '.', ':!docs') !== ''

for (const { name, claim, share, ...proof } of plays) {
  if (wanted.length > 0 && !wanted.some(word => isMeant(name, word))) continue
  // How much is played may be said from outside, and is what is kept.
  const command = proof.command.replace(/\b([A-Z_]+)=(\w+)/g, (_, name, all) => `${name}=${process.env[name] ?? all}`)
  process.stdout.write(`${name}: ${command}\n`)
  const startedAt = performance.now()
  const { passed, figures } = await play(command)
  // One that went on from what it had kept says how long all of it took.
  const seconds = Number(figures.seconds ?? Math.round((performance.now() - startedAt) / 1000))
  const date = new Date().toISOString().slice(0, 10)
  const at = isDirty ? `${commit} with changes` : commit
  outcomes[name] = { claim, command, share, date, commit: at, passed, seconds, figures }
  process.stdout.write(`  ${passed ? 'holds' : 'DOES NOT HOLD'} ${JSON.stringify(figures)} ${seconds} s\n`)
  const ordered = plays.flatMap(({ name: key }) => (outcomes[key] ? [[key, outcomes[key]]] : []))
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
