/** The client's network address: of the socket, or as a trusted proxy tells it. */
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'

export type AddressOf = (req: IncomingMessage) => string

/** Reads `X-Forwarded-For` from the right, past every trusted proxy: what an untrusted hand wrote is never reached. */
export function addresses(trustedProxies: readonly string[]): AddressOf {
  const trusted = new BlockList()
  for (const network of trustedProxies) {
    const [address = '', bits] = network.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (bits === undefined) trusted.addAddress(address, family)
    else trusted.addSubnet(address, Number(bits), family)
  }
  const trusts = (address: string) => trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')

  return req => {
    let address = plain(req.socket.remoteAddress ?? '')
    if (trustedProxies.length === 0 || !trusts(address)) return address
    const told = String(req.headers['x-forwarded-for'] ?? '').split(',')
    for (const hop of told.reverse().map(item => plain(item.trim()))) {
      if (isIP(hop) === 0) break
      address = hop
      if (!trusts(hop)) break
    }
    return address
  }
}

/** `::ffff:10.0.0.1` is 10.0.0.1. */
const plain = (address: string) => (address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address)

export const isLoopback = (address: string) => address.startsWith('127.') || address === '::1'
