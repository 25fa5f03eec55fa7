/** The version before this one, out of the repository's history: what a cluster is upgraded from. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Ends } from '../support/ends.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const read = (directory: string, file: string) => readFileSync(join(directory, file), 'utf8')
const versionIn = (text: string) => (JSON.parse(text) as { version: string }).version
const versionOf = (directory: string) => versionIn(read(directory, 'package.json'))

/** The last commit of the version before, or nothing where the history is not at hand. */
export function commitBefore(): string | undefined {
  try {
    const raises = git('log', '--format=%H', '-G^  "version": ', '--', 'package.json').split('\n')
    return ['HEAD', ...raises.map(commit => `${commit}^`)].find(commit => versionAt(commit) !== versionOf(root))
  } catch {
    return undefined
  }
}
const versionAt = (commit: string) => versionIn(git('show', `${commit}:package.json`))

/** Compiled, in a directory that goes with the test: what TestServer starts. */
export function build(ends: Ends, commit: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'im-before-'))
  ends.after(async () => rmSync(directory, { recursive: true, force: true }))
  const archive = git.bytes('archive', '--format=tar', commit)
  execFileSync('tar', ['-x', '-C', directory], { input: archive })
  if (
    read(directory, 'package-lock.json').replaceAll(versionOf(directory), versionOf(root)) ===
    read(root, 'package-lock.json')
  )
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'))
  else execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: directory, stdio: 'ignore' })
  const compiler = ['node_modules/typescript/bin/tsc', '-p', directory, '--noCheck', '--incremental', 'false']
  execFileSync(process.execPath, compiler, { cwd: directory })
  return join(directory, 'dist/server/main.js')
}

function git(...args: string[]): string {
  return git
    .bytes(...args)
    .toString()
    .trim()
}
git.bytes = (...args: string[]): Buffer =>
  execFileSync('git', args, { cwd: root, stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 256 * 1024 * 1024 })
