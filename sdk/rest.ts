/** The REST door: a catalogue row and a request become an HTTP request, its answer a result or a refusal. */
import { type OperationName, type Request, type Result, rowOf } from '../protocol/operations.ts'
import { Refusal } from './refusal.ts'

export type Fetch = (url: string, init: RequestInit) => Promise<Response>

export interface RestOptions {
  /** Address of the server, without `/v1`. */
  url: string
  fetch: Fetch
  timeoutMs: number
}

/** The parts of a request, told apart by the row: what its path and query name, and the rest as body. */
export function asHttp(name: OperationName, request: object): { method: string; path: string; body?: string } {
  const row = rowOf(name)
  const [method = '', pattern = ''] = row.rest.split(' ')
  const fields = new Map(Object.entries(request).filter(([, value]) => value !== undefined))
  const take = (field: string) => {
    const value = String(fields.get(field))
    fields.delete(field)
    return value
  }
  const path = pattern.replace(/:([a-z]+)/gi, (_, field: string) => encodeURIComponent(take(field)))
  const inQuery = row.body ? Object.keys(row.query ?? {}) : [...fields.keys()]
  const query = new URLSearchParams()
  for (const field of inQuery) if (fields.has(field)) query.set(field, take(field))
  return {
    method,
    path: `/v1${path}${query.size > 0 ? `?${query}` : ''}`,
    ...(row.body && { body: JSON.stringify(Object.fromEntries(fields)) }),
  }
}

/** One request. @throws Refusal */
export async function ask<K extends OperationName>(
  { url, fetch, timeoutMs }: RestOptions,
  name: K,
  request: Request<K>,
  token?: string,
): Promise<Result<K>> {
  const { method, path, body } = asHttp(name, request as object)
  const headers: Record<string, string> = { accept: 'application/json' }
  if (body !== undefined) headers['content-type'] = 'application/json'
  if (token !== undefined) headers.authorization = `Bearer ${token}`
  try {
    const response = await fetch(url + path, {
      method,
      headers,
      signal: AbortSignal.timeout(timeoutMs),
      ...(body !== undefined && { body }),
    })
    const text = await response.text()
    if (!response.ok) throw refused(response, text)
    return (text === '' ? undefined : JSON.parse(text)) as Result<K>
  } catch (cause) {
    if (cause instanceof Refusal) throw cause
    throw new Refusal(isTimeout(cause) ? 'timed-out' : 'unreachable', { cause })
  }
}

const isTimeout = (thrown: unknown) => thrown instanceof DOMException && thrown.name === 'TimeoutError'

/** An answer that is no problem of the server's own (a proxy's, say) counts as temporary from 500 on. */
function refused(response: Response, text: string): Refusal {
  const problem = problemOf(text)
  const { code, detail, title, ...details } = problem
  const after = Number(response.headers.get('retry-after') ?? Number.NaN)
  const says = [detail, title].find(part => typeof part === 'string')
  return new Refusal(
    typeof code === 'string' ? code : response.status >= 500 ? 'unreachable' : `http-${response.status}`,
    {
      ...(typeof says === 'string' && { says }),
      details,
      ...(Number.isFinite(after) && { retryAfterMs: after * 1_000 }),
      ...(typeof code !== 'string' && { final: response.status < 500 && response.status !== 429 }),
    },
  )
}

function problemOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}
