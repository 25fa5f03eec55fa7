/** What the scripts of these records share: a Redis of their own on a free port, packages from a folder, and a table. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'

/** Imports from the folder that the script was given, where its packages are installed. */
export function packages(folder) {
  const require = createRequire(join(resolve(folder ?? '.'), 'package.json'))
  return { of: name => require(name), load: name => import(require.resolve(name)) }
}

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

export async function redisServer(port, ...more) {
  const own = port ?? (await freePort())
  const args = ['--port', `${own}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', ...more]
  const child = spawn('redis-server', args, { cwd: '/tmp', stdio: ['ignore', 'pipe', 'inherit'] })
  process.once('exit', () => child.kill('SIGKILL'))
  for await (const chunk of child.stdout) if (`${chunk}`.includes('Ready to accept')) break
  child.stdout.resume()
  return {
    port: own,
    pause: () => child.kill('SIGSTOP'),
    resume: () => child.kill('SIGCONT'),
    async kill() {
      if (child.signalCode !== null) return
      const exit = once(child, 'exit')
      child.kill('SIGKILL')
      await exit
    },
  }
}

/** Resolves when `count` has not changed for so long. Only a script that counts what never comes may wait so. */
export async function quiet(count, ms = 2_000) {
  for (let before = -1, now = count(); before !== now; now = count()) {
    before = now
    await new Promise(done => setTimeout(done, ms))
  }
}

export const sleep = ms => new Promise(done => setTimeout(done, ms))
export const percentile = (sorted, share) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
export const say = (what, value) => process.stdout.write(`| ${what} | ${value} |\n`)
