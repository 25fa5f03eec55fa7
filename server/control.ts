/**
 * The door for commands while a server runs: a socket in the data directory, which the owner of the server alone can open.
 * A line each way: `{ "name", "asked" }`, then `{ "given" }` or `{ "fault", "says", "details" }`.
 */
import { chmod, rm } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { Fault, type FaultCode } from '../protocol/faults.ts'

const NAME = 'control'
/** What a socket's path may have, on the system that takes least. */
const MAX_PATH_BYTES = 103
const MAX_LINE_BYTES = 64 * 1024
/** A command that asks nothing is sent away. */
const IDLE_MS = 30_000

interface Answer {
  given?: unknown
  fault?: FaultCode
  details?: Record<string, unknown>
}
type Perform = (name: string, asked: unknown) => Promise<unknown>

/** The directory is this server's alone: what is there was left by one that was killed. Resolves to what closes it. */
export async function openControl(directory: string, perform: Perform, log: Logger): Promise<() => Promise<void>> {
  const path = join(directory, NAME)
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    log.warn({ path }, 'the path of the data directory is too long for a socket: commands need the server stopped')
    return async () => {}
  }
  await rm(path, { force: true })
  const sockets = new Set<Socket>()
  const server = createServer(socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    socket.setTimeout(IDLE_MS, () => socket.destroy())
    answer(socket, perform).catch(err => {
      log.error({ err }, 'a command was not answered')
      socket.destroy()
    })
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve))
  await chmod(path, 0o600)
  return async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => server.close(resolve))
  }
}

async function answer(socket: Socket, perform: Perform): Promise<void> {
  const line = await lineFrom(socket)
  if (line === undefined) return
  let told: Answer
  try {
    const { name, asked } = JSON.parse(line) as { name: string; asked: unknown }
    told = { given: await perform(name, asked) }
  } catch (thrown) {
    if (!(thrown instanceof Fault)) throw thrown
    told = { fault: thrown.code, details: { ...thrown.details } }
  }
  socket.end(`${JSON.stringify(told)}\n`)
}

/** The first line; undefined where none comes. */
function lineFrom(socket: Socket): Promise<string | undefined> {
  return new Promise(resolve => {
    let text = ''
    socket.setEncoding('utf8').on('data', chunk => {
      text += chunk
      const end = text.indexOf('\n')
      if (end !== -1) resolve(text.slice(0, end))
      else if (text.length > MAX_LINE_BYTES) socket.destroy()
    })
    socket.on('close', () => resolve(undefined))
  })
}

/** Asks the server of a directory. Undefined: there is none that can be asked. @throws Fault */
export async function askServer(
  directory: string,
  name: string,
  asked: unknown,
): Promise<{ given: unknown } | undefined> {
  const socket = await connected(join(directory, NAME))
  if (!socket) return undefined
  try {
    socket.write(`${JSON.stringify({ name, asked })}\n`)
    const line = await lineFrom(socket)
    if (line === undefined) throw new Fault('log-unavailable', {}, { cause: new Error('The server did not answer.') })
    const { given, fault, details } = JSON.parse(line) as Answer
    if (fault) throw new Fault(fault, details)
    return { given }
  } finally {
    socket.destroy()
  }
}

function connected(path: string): Promise<Socket | undefined> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return Promise.resolve(undefined)
  return new Promise((resolve, reject) => {
    const socket = createConnection(path, () => resolve(socket))
    socket.on('error', (thrown: NodeJS.ErrnoException) => {
      if (thrown.code === 'ENOENT' || thrown.code === 'ECONNREFUSED') resolve(undefined)
      else reject(thrown)
    })
  })
}
