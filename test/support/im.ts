/** The real `im` command of a test, run to its end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const IM = fileURLToPath(new URL('../../server/im.js', import.meta.url))

export interface Ended {
  code: number | null
  out: string
  errors: string
}

/** Begins it; `input` is its standard input, `more` further settings. */
export function begin(
  directory: string,
  options: readonly string[],
  input = '',
  more: Record<string, string> = {},
): { child: ChildProcess; ended: Promise<Ended> } {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('IM_')))
  const child = spawn(process.execPath, [IM, ...options], { env: { ...inherited, IM_DATA_DIR: directory, ...more } })
  let [out, errors] = ['', '']
  child.stdout.on('data', bytes => {
    out += bytes
  })
  child.stderr.on('data', bytes => {
    errors += bytes
  })
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  return { child, ended: once(child, 'close').then(([code]) => ({ code: code as number | null, out, errors })) }
}

export const im = (directory: string, ...options: string[]): Promise<Ended> => begin(directory, options).ended
