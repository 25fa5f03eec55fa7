/** A refusal as an HTTP answer: an RFC 9457 problem, with the fault's stable `code`. */
import { STATUS_CODES } from 'node:http'
import type { Context } from 'koa'
import type { Fault } from '../protocol/faults.ts'

/** The body of every refusal. */
export function problem(fault: Fault): Record<string, unknown> {
  const { http } = fault.row
  const { issues, ...details } = fault.details
  return {
    ...details,
    type: 'about:blank',
    title: STATUS_CODES[http] ?? 'Error',
    status: http,
    code: fault.code,
    detail: fault.row.says,
    ...(Array.isArray(issues) && { issues }),
  }
}

export function refuse(ctx: Context, fault: Fault): void {
  const { http } = fault.row
  ctx.status = http
  if (http === 401) ctx.set('www-authenticate', challenge(fault))
  const { retryAfterMs, allow } = fault.details
  if (typeof retryAfterMs === 'number') ctx.set('retry-after', String(Math.max(1, Math.ceil(retryAfterMs / 1000))))
  else if (http === 429 || http === 503) ctx.set('retry-after', '1')
  if (typeof allow === 'string') ctx.set('allow', allow)
  ctx.type = 'application/problem+json'
  ctx.body = Buffer.from(JSON.stringify(problem(fault)))
}

/** RFC 6750: no error code where no token was given. */
const challenge = (fault: Fault) =>
  fault.code === 'not-signed-in' ? 'Bearer realm="im"' : 'Bearer realm="im", error="invalid_token"'
