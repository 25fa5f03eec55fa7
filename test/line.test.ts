/** The line that tests put between two parts: cut, silent, and whole again. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { test } from 'node:test'
import { line } from './support/line.ts'

test('a line that is held hands nothing on, either way, and everything when it is mended', async t => {
  const heard: string[] = []
  const far = createServer(socket => {
    socket
      .on('error', () => {})
      .on('data', bytes => {
        heard.push(bytes.toString())
        socket.write(`so you say ${bytes}`)
      })
  }).listen(0, '127.0.0.1')
  await once(far, 'listening')
  t.after(() => far.close())
  const between = await line(t, (far.address() as AddressInfo).port)
  const near = connect(between.port, '127.0.0.1')
  near.write('one')
  assert.equal(String((await once(near, 'data'))[0]), 'so you say one')

  between.hold()
  near.write('two')
  // Another line to the same end has had its answer by then: this one would have been first.
  const other = await line(t, (far.address() as AddressInfo).port)
  const witness = connect(other.port, '127.0.0.1')
  witness.write('three')
  await once(witness, 'data')
  assert.deepEqual(heard, ['one', 'three'])

  between.mend()
  assert.equal(String((await once(near, 'data'))[0]), 'so you say two')
  between.cut()
  await once(near, 'close')
  witness.destroy()
})
