/** `npm start`: compiles what is stale, then becomes the server. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const main = join(root, 'dist/server/main.js')
// Written by the compiler at every build.
const stamp = join(root, 'dist/.tsbuildinfo')

/** The newest source file, in epoch milliseconds. */
function newest(path) {
  const { mtimeMs } = statSync(path)
  if (!statSync(path).isDirectory()) return mtimeMs
  return Math.max(0, ...readdirSync(path).map(name => newest(join(path, name))))
}

const sources = ['protocol', 'core', 'storage', 'broker', 'api', 'server', 'tsconfig.json', 'package.json']
const stale =
  !existsSync(main) ||
  !existsSync(stamp) ||
  sources.some(source => newest(join(root, source)) > statSync(stamp).mtimeMs)
if (stale) {
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  const { status } = spawnSync(process.execPath, [compiler, '-p', join(root, 'tsconfig.json')], {
    stdio: ['ignore', 2, 2],
  })
  if (status !== 0) process.exit(status ?? 1)
}
await import(main)
