/** What the benchmark counts with: if these were wrong, a loss would go unseen. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test } from 'node:test'
import fc from 'fast-check'
import { Histogram } from '../bench/load/histogram.ts'
import { numberAt, Reader, textOf, writeNumber } from '../bench/load/numbered.ts'
import { PageReader } from '../bench/load/pages.ts'
import { Sequence } from '../bench/load/sequence.ts'

test('every loss, double and disorder of a sequence is counted', () => {
  const arrivals = fc.array(fc.nat(30), { maxLength: 60 })
  fc.assert(
    fc.property(arrivals, fc.nat(40), (numbers, more) => {
      const sent = Math.max(-1, ...numbers) + 1 + more
      const sequence = new Sequence()
      const fresh = numbers.filter(number => sequence.take(number))
      const distinct = new Set(numbers)
      assert.deepEqual(fresh, [...distinct])
      assert.equal(sequence.doubled, numbers.length - distinct.size)
      assert.equal(sequence.lost(sent), sent - distinct.size)
      assert.equal(sequence.reordered, fresh.filter((number, i) => fresh.slice(0, i).some(one => one > number)).length)
    }),
  )
})

test('the number of a text is found wherever the text stands in a payload', () => {
  const reader = new Reader()
  fc.assert(
    fc.property(fc.nat(9_999), fc.nat(99_999_999), fc.string({ maxLength: 30 }), (sender, number, before) => {
      const payload = Buffer.from(JSON.stringify({ before: before.replaceAll('~', ''), text: textOf(sender, 60) }))
      writeNumber(payload, numberAt(payload), number)
      assert.ok(reader.read(payload, 0, payload.length))
      assert.deepEqual([reader.sender, reader.number], [sender, number])
    }),
  )
  const nothing = Buffer.from(`{"kind":"members"}${textOf(1, 30)}`)
  assert.ok(!reader.read(nothing, 0, 18), 'a text behind the end of the payload is not its own')
})

test('a quantile is right within the width of a bucket', () => {
  const times = fc.array(fc.double({ min: 0, max: 100_000, noNaN: true }), { minLength: 1, maxLength: 50 })
  fc.assert(
    fc.property(times, fc.double({ min: 0, max: 0.999, noNaN: true }), (ms, share) => {
      const histogram = new Histogram()
      for (const one of ms) histogram.add(one)
      const exact = [...ms].sort((a, b) => a - b)[Math.floor(share * ms.length)] as number
      const found = histogram.quantileMs(share) as number
      assert.ok(Math.abs(found - exact) <= exact * 0.016 + 0.001, `${found} for ${exact}`)
    }),
  )
  assert.equal(new Histogram().quantileMs(0.5), null)
})

test('a page reader gets one body after the other and refuses anything but a 200', async () => {
  const server = createServer((request, response) => {
    if (request.url === '/gone') return response.writeHead(404, { 'content-length': 0 }).end()
    return response
      .writeHead(200, { 'content-length': 200_000 })
      .end(`${request.headers.authorization}`.padEnd(200_000))
  })
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const reader = new PageReader((server.address() as { port: number }).port)
  for (const token of ['a', 'b']) {
    const body = await reader.get('/page', token)
    assert.equal(body.length, 200_000)
    assert.equal(body.toString().trim(), `Bearer ${token}`)
  }
  await assert.rejects(reader.get('/gone', 'a'), /404/)
  reader.close()
  server.close()
})
