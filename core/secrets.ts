/** Secrets that are handed out: 256 random bits behind a prefix that says what they are. Only their SHA-256 is kept. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Random } from './ports.ts'

/** Personal key, device key, refresh token. */
export const PREFIX = { key: 'imk_', device: 'imd_', refresh: 'imr_' } as const

export const randomText = (random: Random, bytes: number) => Buffer.from(random.bytes(bytes)).toString('base64url')
/** 43 characters of base64url, without a prefix. */
export const secretText = (random: Random) => randomText(random, 32)

/** In hex. Enough for 256 random bits; a password needs more. */
export const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

/** Takes as long whether the secret is right, nearly right or wrong. */
export function isSecret(hash: string, secret: string): boolean {
  const wanted = Buffer.from(hash)
  const given = Buffer.from(sha256(secret))
  return wanted.length === given.length && timingSafeEqual(wanted, given)
}
