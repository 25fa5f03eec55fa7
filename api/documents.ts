/** OpenAPI and AsyncAPI, and pages that show them. Nothing is loaded from another host. */
import { readFileSync } from 'node:fs'
import type { Router } from '@koa/router'

interface Needs {
  openapi: object
  asyncapi: object
}

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** The files lie beside the sources: the compiler copies none. */
const FILES = new URL('../../api/reader/', import.meta.url)

// biome-ignore format: a table, a row a line
const PAGES = [
  ['/', 'landing.html', 'text/html; charset=utf-8'],
  ['/docs', 'reader.html', 'text/html; charset=utf-8'],
  ['/docs/reader.js', 'reader.js', 'text/javascript; charset=utf-8'],
  ['/docs/schema.js', 'schema.js', 'text/javascript; charset=utf-8'],
  ['/docs/reader.css', 'reader.css', 'text/css; charset=utf-8'],
] as const

export function documentRoutes(router: Router, { openapi, asyncapi }: Needs): void {
  for (const [path, file, type] of PAGES) give(router, path, type, readFileSync(new URL(file, FILES)))
  give(router, '/openapi.json', 'application/json', Buffer.from(JSON.stringify(openapi)))
  give(router, '/asyncapi.json', 'application/json', Buffer.from(JSON.stringify(asyncapi)))
}

function give(router: Router, path: string, type: string, body: Buffer): void {
  router.get(path, ctx => {
    ctx.state.route = 'documents'
    ctx.set('content-security-policy', POLICY)
    ctx.set('cache-control', 'no-cache')
    ctx.set('content-type', type)
    // Documents are open to tools on any page: there is nothing secret in them.
    if (path.endsWith('.json')) ctx.set('access-control-allow-origin', '*')
    ctx.body = body
  })
}
