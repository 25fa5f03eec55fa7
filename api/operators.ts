/** What operators and their machines ask: alive, ready, metrics. */
import { timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Router } from '@koa/router'
import { Fault } from '../protocol/faults.ts'
import { type AddressOf, isLoopback } from './address.ts'

export interface OperatorNeeds {
  addressOf: AddressOf
  /** Rejects when writes would be refused now. */
  ready: () => Promise<void>
  metrics: () => Promise<{ contentType: string; body: string }>
  metricsToken?: string | undefined
}

export function operatorRoutes(router: Router, { addressOf, ready, metrics, metricsToken }: OperatorNeeds): void {
  router.get('/healthz', ctx => {
    ctx.state.route = 'healthz'
    ctx.body = { status: 'alive' }
  })
  router.get('/readyz', async ctx => {
    ctx.state.route = 'readyz'
    await ready()
    ctx.body = { status: 'ready' }
  })
  router.get('/metrics', async ctx => {
    ctx.state.route = 'metrics'
    permit(ctx.req, addressOf, metricsToken)
    const { contentType, body } = await metrics()
    ctx.set('content-type', contentType)
    ctx.body = body
  })
}

/** By token; without one set, to this machine alone, and not to whoever a proxy on it speaks for. */
function permit(req: IncomingMessage, addressOf: AddressOf, token: string | undefined): void {
  if (token !== undefined) {
    const given = req.headers.authorization
    if (given === undefined) throw new Fault('not-signed-in')
    if (!same(given, `Bearer ${token}`)) throw new Fault('bad-credentials')
    return
  }
  const proxied = req.headers['x-forwarded-for'] !== undefined || req.headers.forwarded !== undefined
  if (proxied || !isLoopback(addressOf(req))) throw new Fault('not-allowed')
}

function same(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
