/** The HTTP side: REST below `/v1`, the documents, and what operators ask. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Router } from '@koa/router'
import Koa, { type Context, type Next } from 'koa'
import type { Gatekeeper, Idempotency } from '../core/ports.ts'
import type { Run } from '../core/run.ts'
import { Fault } from '../protocol/faults.ts'
import type { AddressOf } from './address.ts'
import { documentRoutes } from './documents.ts'
import type { HttpObserver } from './observer.ts'
import { type OperatorNeeds, operatorRoutes } from './operators.ts'
import { refuse } from './problems.ts'
import { restRouter } from './rest.ts'

export { type AddressOf, addresses, isLoopback } from './address.ts'
export { asyncapi } from './asyncapi.ts'
export type { HttpObserver } from './observer.ts'
export { openapi } from './openapi.ts'

export interface ApiNeeds extends OperatorNeeds {
  run: Run
  gatekeeper: Gatekeeper
  idempotency: Idempotency
  addressOf: AddressOf
  observer: HttpObserver
  /** Origins whose pages may call, or `*`. */
  corsOrigins: readonly string[]
  openapi: object
  asyncapi: object
  /** Milliseconds, for how long answers take. */
  now: () => number
}

export type RequestHandler = (req: IncomingMessage, res: ServerResponse) => void

export function createApi(needs: ApiNeeds): RequestHandler {
  const app = new Koa()
  const router = new Router({ sensitive: true })
  const rest = restRouter(needs)
  router.use(rest.routes())
  operatorRoutes(router, needs)
  documentRoutes(router, needs)

  app.on('error', (error: unknown) => needs.observer.failed('http', error))
  app.use(outcome(needs))
  app.use(headers(needs.corsOrigins))
  app.use(router.routes())
  app.use(unrouted(router))
  const handle = app.callback()
  return (req, res) => void handle(req, res)
}

/** Every request ends as an answer: what was thrown becomes a problem. */
function outcome({ observer, now }: Pick<ApiNeeds, 'observer' | 'now'>) {
  return async (ctx: Context, next: Next): Promise<void> => {
    const startedAt = now()
    try {
      await next()
    } catch (thrown) {
      // What an operation threw was told of where it ran.
      if (!(thrown instanceof Fault)) observer.failed('http', thrown)
      refuse(ctx, Fault.from(thrown))
    }
    // The rest of a body that was not read to its end would be read for nothing.
    if (!ctx.req.complete) ctx.set('connection', 'close')
    observer.answered(ctx.state.route ?? 'none', ctx.status, now() - startedAt)
  }
}

function headers(corsOrigins: readonly string[]) {
  const any = corsOrigins.includes('*')
  return async (ctx: Context, next: Next): Promise<void> => {
    ctx.res.setHeader('x-content-type-options', 'nosniff')
    ctx.res.setHeader('x-frame-options', 'DENY')
    ctx.res.setHeader('referrer-policy', 'no-referrer')
    const origin = ctx.req.headers.origin
    if (origin !== undefined && (any || corsOrigins.includes(origin)) && ctx.path.startsWith('/v1/')) {
      ctx.res.setHeader('access-control-allow-origin', any ? '*' : origin)
      ctx.res.setHeader('access-control-expose-headers', 'retry-after')
      if (ctx.method === 'OPTIONS') preflight(ctx)
    }
    if (!any) ctx.vary('origin')
    await next()
  }
}

function preflight(ctx: Context): void {
  ctx.set('access-control-allow-methods', 'GET, HEAD, POST, PUT, PATCH, DELETE')
  ctx.set('access-control-allow-headers', 'authorization, content-type, idempotency-key')
  ctx.set('access-control-max-age', '86400')
}

/** No route took it: an unknown address, or a method that the address does not take. */
function unrouted(router: Router) {
  return async (ctx: Context): Promise<void> => {
    if (ctx.state.route !== undefined) return
    const methods = new Set(router.match(ctx.path, ctx.method).path.flatMap(layer => layer.methods))
    if (methods.size === 0) throw new Fault('not-found')
    const allow = [...methods, 'OPTIONS'].join(', ')
    if (ctx.method !== 'OPTIONS') throw new Fault('method-not-allowed', { allow })
    ctx.set('allow', allow)
    ctx.status = 204
  }
}
