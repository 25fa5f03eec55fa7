/** A reader of HTTP on one kept-alive connection: one request at a time, the body looked at where it lies. */
import { connect, type Socket } from 'node:net'

const END_OF_HEAD = Buffer.from('\r\n\r\n')

export class PageReader {
  readonly #socket: Socket
  readonly #host: string
  #bytes: Buffer = Buffer.alloc(0)
  #bodyAt = 0
  #endsAt = 0
  #answered: ((body: Buffer) => void) | undefined
  #failed: ((error: Error) => void) | undefined

  constructor(port: number) {
    this.#host = `127.0.0.1:${port}`
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.#socket.on('data', bytes => this.#came(bytes))
    this.#socket.on('error', error => this.#failed?.(error))
    this.#socket.on('close', () => this.#failed?.(new Error('the server closed the connection')))
  }

  /** The body of a 200. @throws Error for any other answer */
  get(path: string, token: string): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#answered = resolve
      this.#failed = reject
      this.#socket.write(`GET ${path} HTTP/1.1\r\nHost: ${this.#host}\r\nAuthorization: Bearer ${token}\r\n\r\n`)
    })
  }

  #came(bytes: Buffer): void {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes])
    if (this.#endsAt === 0 && !this.#head()) return
    if (this.#bytes.length < this.#endsAt) return
    const body = this.#bytes.subarray(this.#bodyAt, this.#endsAt)
    this.#bytes = Buffer.alloc(0)
    this.#endsAt = 0
    this.#answered?.(body)
  }

  /** Whether the head of the answer is there and can be read. */
  #head(): boolean {
    const at = this.#bytes.indexOf(END_OF_HEAD)
    if (at === -1) return false
    const head = this.#bytes.toString('latin1', 0, at)
    const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1]
    if (!head.startsWith('HTTP/1.1 200') || length === undefined) {
      this.#failed?.(new Error(`not a page of known length: ${head}`))
      this.close()
      return false
    }
    this.#bodyAt = at + END_OF_HEAD.length
    this.#endsAt = this.#bodyAt + Number(length)
    return true
  }

  close(): void {
    this.#failed = undefined
    this.#socket.destroy()
  }
}
