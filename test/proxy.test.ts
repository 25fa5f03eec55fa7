/** The PROXY header: both versions, split anywhere, and what is none. */
import assert from 'node:assert/strict'
import { connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { ProxyError, parseProxyHeader, readProxyHeader } from '../broker/proxy.ts'

const v1 = Buffer.from('PROXY TCP4 203.0.113.7 192.0.2.1 40000 1883\r\n')
const v2 = Buffer.concat([
  Buffer.from('0d0a0d0a000d0a515549540a2111000c', 'hex'),
  Buffer.from([203, 0, 113, 7, 192, 0, 2, 1, 0x9c, 0x40, 7, 0x5b]),
])

for (const [name, header] of Object.entries({ v1, v2 })) {
  test(`a header of ${name} is read however it is split, and what follows is left`, () => {
    const bytes = Buffer.concat([header, Buffer.from('rest')])
    for (let cut = 0; cut < header.length; cut++) assert.equal(parseProxyHeader(bytes.subarray(0, cut)), undefined)
    assert.deepEqual(parseProxyHeader(bytes), { size: header.length, address: '203.0.113.7' })
  })
}

test('a proxy that speaks for itself names no address', () => {
  assert.deepEqual(parseProxyHeader(Buffer.from('PROXY UNKNOWN\r\n')), { size: 15, address: undefined })
  assert.deepEqual(parseProxyHeader(Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex')), {
    size: 16,
    address: undefined,
  })
})

test('an address of IPv6 is read', () => {
  const source = Buffer.from('20010db8000000000000000000000001', 'hex')
  const header = Buffer.concat([Buffer.from('0d0a0d0a000d0a515549540a21210024', 'hex'), source, Buffer.alloc(20)])
  assert.equal(parseProxyHeader(header)?.address, '2001:db8:0:0:0:0:0:1')
})

for (const wrong of [
  'GET / HTTP/1.1\r\n',
  `PROXY TCP4 ${'1'.repeat(120)}`,
  'PROXY WHAT 1 2 3 4\r\n',
  '\x10\x0c\x00\x04MQTT',
]) {
  test(`${JSON.stringify(wrong.slice(0, 16))} is no header`, () => {
    assert.throws(() => parseProxyHeader(Buffer.from(wrong)), ProxyError)
  })
}

test('a socket is read up to its header, byte by byte', async () => {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const accepted = new Promise<Socket>(resolve => server.once('connection', resolve))
  const client = connect((server.address() as { port: number }).port, '127.0.0.1')
  client.setNoDelay(true)
  const socket = await accepted
  const address = readProxyHeader(socket)
  for (const byte of Buffer.concat([v2, Buffer.from('MQTT')])) client.write(Buffer.from([byte]))
  assert.equal(await address, '203.0.113.7')
  client.end()
  const rest: Buffer[] = []
  for await (const bytes of socket) rest.push(bytes as Buffer)
  assert.equal(Buffer.concat(rest).toString(), 'MQTT')
  server.close()
})
