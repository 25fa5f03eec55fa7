/** What the server says of itself: OpenAPI, AsyncAPI and their reader. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { FAULTS } from '../protocol/faults.ts'
import { operationNames, rowOf } from '../protocol/operations.ts'
import { TOPICS } from '../protocol/topics.ts'
import { startServer } from './harness.ts'
import { ask } from './support/http.ts'

test('the documents and their reader load nothing from other hosts', async t => {
  const server = await startServer(t)
  for (const path of ['/', '/docs', '/docs/reader.js', '/docs/schema.js', '/docs/reader.css']) {
    const { status, text, headers } = await ask(server, `GET ${path}`)
    assert.equal(status, 200)
    assert.doesNotMatch(text, /(?:src|href)="(?:https?:)?\/\/|@import|url\(\s*["']?(?:https?:)?\/\//)
    assert.match(headers.get('content-security-policy') ?? '', /^default-src 'none'; script-src 'self'/)
    assert.equal(headers.get('x-content-type-options'), 'nosniff')
  }
})

test('OpenAPI is valid and has every operation with its refusals', async t => {
  const { json } = await ask(await startServer(t), 'GET /openapi.json')
  const { valid, errors } = await new Validator().validate(structuredClone(json))
  assert.ok(valid, JSON.stringify(errors))
  assert.match(String(json.openapi), /^3\.1\./)
  const paths = json.paths as Record<
    string,
    Record<string, { operationId: string; responses: Record<string, unknown> }>
  >
  for (const name of operationNames) {
    const row = rowOf(name)
    const [method = '', path = ''] = row.rest.split(' ')
    const operation = paths[path.replace(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]
    assert.equal(operation?.operationId, name)
    for (const status of [row.status ?? 200, ...row.faults.map(code => FAULTS[code].http)])
      assert.ok(operation.responses[status], `${name} does not tell of ${status}`)
  }
  everyReferenceResolves(json)
})

test('AsyncAPI has every topic with its QoS', async t => {
  const { json } = await ask(await startServer(t), 'GET /asyncapi.json')
  assert.equal(json.asyncapi, '3.0.0')
  const channels = json.channels as Record<string, { address: string; parameters: object; messages: object }>
  const operations = json.operations as Record<string, { action: string; bindings: { mqtt: { qos: number } } }>
  for (const [name, row] of Object.entries(TOPICS)) {
    assert.equal(channels[name]?.address, row.pattern)
    const levels = [...row.pattern.matchAll(/\{(\w+)\}/g)].map(match => match[1])
    assert.deepEqual(Object.keys(channels[name].parameters), levels)
    assert.equal(operations[name]?.bindings.mqtt.qos, row.qos)
    assert.equal(operations[name].action, row.from === 'client' ? 'receive' : 'send')
  }
  everyReferenceResolves(json)
})

function everyReferenceResolves(document: Record<string, unknown>): void {
  const lookUp = (ref: string) =>
    ref
      .slice(2)
      .split('/')
      .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document)
  JSON.stringify(document, (key, value) => {
    if (key === '$ref') assert.notEqual(lookUp(value as string), undefined, `${value} leads nowhere`)
    return value
  })
}
