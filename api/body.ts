/** The bytes of a request body become an object, or a refusal. */
import type { IncomingMessage } from 'node:http'
import { Fault } from '../protocol/faults.ts'
import { parseJson, utf8 } from '../protocol/json.ts'

export const MAX_BODY_BYTES = 320 * 1024

const malformed = (message: string) => new Fault('malformed', { issues: [{ path: [], message }] })

/** The fields of a JSON body; none where there is no body. @throws Fault `malformed` · `too-large` */
export async function readBody(req: IncomingMessage): Promise<Record<string, unknown>> {
  const { 'content-length': length, 'transfer-encoding': chunked } = req.headers
  if (chunked === undefined && (length === undefined || length === '0')) return {}
  if (length !== undefined && Number(length) > MAX_BODY_BYTES) throw new Fault('too-large')
  requireJson(req)
  const bytes = await collect(req)
  if (bytes.length === 0) return {}
  const value = parseJson(utf8(bytes))
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw malformed('The body must be a JSON object.')
  return value as Record<string, unknown>
}

function requireJson(req: IncomingMessage): void {
  const [type = '', ...parameters] = (req.headers['content-type'] ?? '').toLowerCase().split(';')
  if (type.trim() !== 'application/json') throw malformed('The body must have the content type application/json.')
  const charset = parameters.map(item => item.trim()).find(item => item.startsWith('charset='))
  if (charset !== undefined && !/^charset="?utf-?8"?$/.test(charset)) throw malformed('The body must be UTF-8.')
  const encoding = req.headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity') throw malformed('The body must not be compressed.')
}

function collect(req: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    const cut = () => reject(malformed('The body ended early.'))
    req.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > MAX_BODY_BYTES) {
        req.removeAllListeners('data').pause()
        reject(new Fault('too-large'))
      } else chunks.push(chunk)
    })
    req.once('end', () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)))
    req.once('error', cut)
    req.once('close', cut)
  })
}
