/** REST: one route for each row of the catalogue. */
import { Router } from '@koa/router'
import type { Context } from 'koa'
import type { Caller } from '../core/caller.ts'
import { encode } from '../core/encode.ts'
import { StoredEntry } from '../core/entry.ts'
import type { Answer, Gatekeeper, Idempotency } from '../core/ports.ts'
import type { Run } from '../core/run.ts'
import { Fault } from '../protocol/faults.ts'
import { type OperationName, type OperationRow, operationNames, rowOf } from '../protocol/operations.ts'
import type { AddressOf } from './address.ts'
import { readBody } from './body.ts'
import { namesMessages, takesKey } from './schemas.ts'

interface Needs {
  run: Run
  gatekeeper: Gatekeeper
  idempotency: Idempotency
  addressOf: AddressOf
}

export function restRouter(needs: Needs): Router {
  const router = new Router({ prefix: '/v1', sensitive: true })
  for (const name of operationNames) {
    const row = rowOf(name)
    const [method = '', path = ''] = row.rest.split(' ')
    router.register(path, [method], endpoint(needs, name, row))
  }
  return router
}

function endpoint({ run, gatekeeper, idempotency, addressOf }: Needs, name: OperationName, row: OperationRow) {
  const keyNames = !takesKey(row) ? 'nothing' : namesMessages(row) ? 'message' : 'answer'
  const query = new Set(Object.keys(row.query ?? {}))
  const params = Object.keys(row.path ?? {})
  return async (ctx: Context): Promise<void> => {
    ctx.state.route = name
    const caller = await callerOf(ctx, row, gatekeeper, addressOf)
    const input = await readBody(ctx.req)
    for (const field of params) addOnce(input, field, ctx.params[field])
    if (ctx.querystring)
      for (const [field, value] of new URLSearchParams(ctx.querystring)) {
        if (!query.has(field)) throw malformed(field, 'There is no such query parameter.')
        addOnce(input, field, value)
      }
    const act = () => answer(run, name, row, caller, input)
    const key = ctx.get('idempotency-key')
    const isKeyed = key !== '' && caller.kind !== 'nobody'
    if (isKeyed && keyNames === 'message' && !Object.hasOwn(input, 'clientMessageId'))
      input.clientMessageId = idempotency.messageId(name, caller, key)
    send(ctx, isKeyed && keyNames === 'answer' ? await idempotency.once(name, caller, key, input, act) : await act())
  }
}

async function answer(
  run: Run,
  name: OperationName,
  row: OperationRow,
  caller: Caller,
  input: unknown,
): Promise<Answer> {
  const output: unknown = await run(name, caller, input)
  const status = row.status ?? 200
  if (status === 204) return { status }
  const repeated = output instanceof StoredEntry && output.repeated
  return { status: repeated ? 200 : status, body: encode(output) }
}

function send(ctx: Context, { status, body }: Answer): void {
  ctx.status = status
  ctx.set('cache-control', 'no-store')
  if (!body) return
  ctx.set('content-type', 'application/json')
  ctx.body = body
}

/** A field has one place: path, query or body. */
function addOnce(input: Record<string, unknown>, field: string, value: unknown): void {
  if (Object.hasOwn(input, field)) throw malformed(field, 'The field is given twice, or in the wrong place.')
  input[field] = value
}

const malformed = (field: string, message: string) => new Fault('malformed', { issues: [{ path: [field], message }] })

/** What anyone may do needs no token; a good one is heeded and a bad one does not matter. */
async function callerOf(
  ctx: Context,
  { may }: OperationRow,
  gatekeeper: Gatekeeper,
  addressOf: AddressOf,
): Promise<Caller> {
  const address = addressOf(ctx.req)
  const nobody: Caller = { kind: 'nobody', address }
  const given = ctx.req.headers.authorization
  if (given === undefined) {
    if (may === 'anyone') return nobody
    throw new Fault('not-signed-in')
  }
  const token = /^Bearer +([\x21-\x7e]{1,8192})$/i.exec(given)?.[1]
  try {
    if (token === undefined) throw new Fault('bad-credentials')
    return await gatekeeper.bearer(token, address)
  } catch (thrown) {
    if (may === 'anyone' && thrown instanceof Fault && thrown.row.http === 401) return nobody
    throw thrown
  }
}
