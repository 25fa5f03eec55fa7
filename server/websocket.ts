/** MQTT over WebSocket [MQTT-6.0.0]: a stream whose writes of one loop turn leave as one binary frame. */
import { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'

export class WebSocketStream extends Duplex {
  readonly #socket: WebSocket

  constructor(socket: WebSocket) {
    // What the peer sends is held by ws while nobody reads, so that it slows down.
    super({ readableHighWaterMark: 64 * 1024 })
    this.#socket = socket
    socket.binaryType = 'nodebuffer'
    socket.on('message', (data, isBinary) => {
      // Only binary frames carry MQTT [MQTT-6.0.0-1].
      if (!isBinary) this.destroy()
      else if (!this.push(data as Buffer)) socket.pause()
    })
    socket.on('close', () => {
      // What came before the end is still read.
      this.push(null)
      if (this.readableLength === 0) this.destroy()
      else this.once('end', () => this.destroy())
    })
    socket.on('error', error => this.destroy(error))
  }

  override _read(): void {
    if (this.#socket.isPaused) this.#socket.resume()
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send(bytes, done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done)
  }

  #send(bytes: Buffer, done: (error?: Error | null) => void): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(bytes, { binary: true }, error => done(error))
    else done(new Error('the WebSocket is closed'))
  }

  override _final(done: () => void): void {
    this.#socket.close()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.terminate()
    done(error)
  }
}
