/** The header that a proxy puts before a connection to say whose it is: PROXY protocol, versions 1 and 2. */
import type { Socket } from 'node:net'

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
/** The longest line of version 1, and more than any header of version 2 without exotic extensions. */
const MAX_V1_BYTES = 107
const MAX_V2_BYTES = 536
const TIME_LIMIT_MS = 5_000

/** Not a PROXY header, or none within 5 s. */
export class ProxyError extends Error {}

/**
 * Reads the header, however it is split, and leaves what follows it to be read. Resolves to the client's address, or to
 * the proxy's own where the header names none (`UNKNOWN`, `LOCAL`). @throws ProxyError
 */
export async function readProxyHeader(socket: Socket): Promise<string> {
  let bytes: Buffer = Buffer.alloc(0)
  const timer = setTimeout(() => socket.destroy(new ProxyError('no PROXY header came in time')), TIME_LIMIT_MS)
  try {
    for (;;) {
      const header = parseProxyHeader(bytes)
      if (header) {
        if (header.size < bytes.length) socket.unshift(bytes.subarray(header.size))
        return header.address ?? socket.remoteAddress ?? ''
      }
      bytes = Buffer.concat([bytes, await chunk(socket)])
    }
  } finally {
    clearTimeout(timer)
  }
}

function chunk(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const read = () => {
      const bytes = socket.read() as Buffer | null
      if (bytes === null) return
      done()
      resolve(bytes)
    }
    const fail = (error?: Error) => {
      done()
      reject(error ?? new ProxyError('the connection ended before its PROXY header'))
    }
    const done = () => {
      socket.off('readable', read).off('error', fail).off('end', fail).off('close', fail)
    }
    socket
      .on('readable', read)
      .on('error', fail)
      .on('end', () => fail())
      .on('close', () => fail())
    read()
  })
}

interface Header {
  /** Bytes of the header. */
  size: number
  address: string | undefined
}

/** The header at the start of the bytes; nothing while it is not whole. @throws ProxyError: it can become none. */
export function parseProxyHeader(bytes: Buffer): Header | undefined {
  const begun = Math.min(bytes.length, SIGNATURE.length)
  if (bytes.subarray(0, begun).equals(SIGNATURE.subarray(0, begun)))
    return begun < SIGNATURE.length ? undefined : version2(bytes)
  return version1(bytes)
}

function version1(bytes: Buffer): Header | undefined {
  const start = 'PROXY '
  const begun = bytes.toString('latin1', 0, Math.min(bytes.length, start.length))
  if (!start.startsWith(begun)) throw new ProxyError('the connection does not begin with a PROXY header')
  const end = bytes.indexOf('\r\n')
  if (end === -1) {
    if (bytes.length >= MAX_V1_BYTES) throw new ProxyError('the PROXY line is too long')
    return undefined
  }
  const [, family, source] = bytes.toString('latin1', 0, end).split(' ')
  if (family !== 'UNKNOWN' && family !== 'TCP4' && family !== 'TCP6')
    throw new ProxyError('the PROXY line names no known family')
  if (family !== 'UNKNOWN' && !source) throw new ProxyError('the PROXY line names no source')
  return { size: end + 2, address: family === 'UNKNOWN' ? undefined : source }
}

const LOCAL = 0x20
const PROXY = 0x21
const IPV4 = 1
const IPV6 = 2

function version2(bytes: Buffer): Header | undefined {
  if (bytes.length < 16) return undefined
  const command = bytes[12]
  const size = 16 + bytes.readUInt16BE(14)
  if ((command !== LOCAL && command !== PROXY) || size > MAX_V2_BYTES)
    throw new ProxyError('the PROXY header is not of version 2')
  if (bytes.length < size) return undefined
  const family = (bytes[13] as number) >> 4
  if (command === LOCAL) return { size, address: undefined }
  if (family === IPV4 && size >= 28) return { size, address: [...bytes.subarray(16, 20)].join('.') }
  if (family === IPV6 && size >= 52) return { size, address: ipv6(bytes.subarray(16, 32)) }
  return { size, address: undefined }
}

function ipv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16))
  return groups.join(':')
}
