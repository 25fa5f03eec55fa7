/** Compiles what is stale, for what runs from a checkout: `npm start` and `im`. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
// Of the build (`npm run build`) and of the compilation here.
const stamps = [join(root, 'dist/.tsbuildinfo'), join(root, 'dist/.started')]
const sources = ['protocol', 'core', 'storage', 'broker', 'api', 'server', 'tsconfig.json', 'package.json']

/** When the newest file below a path changed, in epoch milliseconds; 0 where there is none. */
function newest(path) {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found?.isDirectory()) return found?.mtimeMs ?? 0
  // The folder's own time tells of files that went away.
  return Math.max(found.mtimeMs, ...readdirSync(path).map(name => newest(join(path, name))))
}

/** Where the compiled file is, of one in `server/`. */
export function compiled(name) {
  const file = join(root, 'dist/server', name)
  const compiledAt = existsSync(file) ? Math.max(...stamps.map(newest)) : 0
  if (sources.some(source => newest(join(root, source)) > compiledAt)) compile()
  return pathToFileURL(file).href
}

function compile() {
  // Without checking types: that is for `npm run check`, and needs what only developers have installed.
  const compiler = [join(root, 'node_modules/typescript/bin/tsc'), '-p', root, '--noCheck', '--incremental', 'false']
  const startedAt = new Date()
  const { status } = spawnSync(process.execPath, compiler, { stdio: ['ignore', 2, 2] })
  if (status !== 0) process.exit(status ?? 1)
  // The build would not know what was written here, and might leave it standing.
  rmSync(stamps[0], { force: true })
  writeFileSync(stamps[1], '')
  utimesSync(stamps[1], startedAt, startedAt)
}
