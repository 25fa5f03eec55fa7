/** A server as a child process, bound to its core unless it shares all with others. */
import { type ChildProcess, spawn } from 'node:child_process'
import { onServerCore } from '../machine.ts'

export interface Child {
  pid: number
  /** From the start of the process to being ready. */
  startedMs: number
  /** SIGTERM, and waits for the end. @throws Error unless it ends with 0 */
  stop(): Promise<void>
}

/** Resolves when the server can be used; `line` gives the next line of its standard output. */
type Ready = (line: () => Promise<string>) => Promise<void>

export async function start(
  command: string[],
  env: Record<string, string>,
  ready: Ready,
  pinned = true,
): Promise<Child> {
  const startedAt = performance.now()
  const [file, ...args] = (pinned ? onServerCore(command) : command) as [string, ...string[]]
  // taskset replaces itself by the command, so the child's pid is the server's.
  const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<number | null>(done => child.once('exit', done))
  const gone = ended.then(code => {
    throw new Error(`${command.join(' ')} ended with ${code} before it was ready`)
  })
  await Promise.race([ready(() => nextLine(child)), gone])
  gone.catch(() => {})
  process.once('exit', () => child.kill('SIGKILL'))
  return {
    pid: child.pid as number,
    startedMs: performance.now() - startedAt,
    async stop() {
      child.kill('SIGTERM')
      const code = await ended
      if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}`)
    },
  }
}

function nextLine(child: ChildProcess): Promise<string> {
  return new Promise(done => {
    let text = ''
    const read = (bytes: Buffer) => {
      text += bytes.toString()
      if (!text.includes('\n')) return
      child.stdout?.off('data', read).resume()
      done(text.slice(0, text.indexOf('\n')))
    }
    child.stdout?.on('data', read)
  })
}
