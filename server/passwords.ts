/** Passwords by argon2id, on the thread pool, a few at a time: each takes 19 MiB while it is worked on. */
import { randomBytes } from 'node:crypto'
import { type Algorithm, hash, verify } from '@node-rs/argon2'
import type { Passwords } from '../core/ports.ts'
import { Fault } from '../protocol/faults.ts'

/** OWASP's first choice of parameters with 19 MiB. */
const OPTIONS = { algorithm: 2 satisfies Algorithm.Argon2id, memoryCost: 19_456, timeCost: 2, parallelism: 1 }
/** They run on libuv's pool of four threads, of which storage needs some to write. */
const AT_ONCE = 2
const MAX_WAITING = 200
const RETRY_AFTER_MS = 1_000

export function passwords(): Passwords {
  const inTurn = few(AT_ONCE, MAX_WAITING)
  // Verified where there is no account, so that its absence takes as long as its presence. No password is known to fit it.
  const nobody = `$argon2id$v=19$m=${OPTIONS.memoryCost},t=${OPTIONS.timeCost},p=${OPTIONS.parallelism}$${bits(16)}$${bits(32)}`
  return {
    hash: password => inTurn(() => hash(password, OPTIONS)),
    async verify(known, password) {
      const right = await inTurn(() => verify(known ?? nobody, password))
      return right && known !== undefined
    },
  }
}

/** Random bytes as the text of a hash has them: base64 without padding. */
const bits = (bytes: number) => randomBytes(bytes).toString('base64').replace(/=+$/, '')

/** Runs work so many at once; who comes when too many wait is sent away. */
function few(atOnce: number, most: number) {
  const waiting: (() => void)[] = []
  let running = 0
  return async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (waiting.length >= most) throw new Fault('too-many-requests', { retryAfterMs: RETRY_AFTER_MS })
    if (running >= atOnce) await new Promise<void>(resolve => waiting.push(resolve))
    else running++
    try {
      return await work()
    } finally {
      // The place goes to who waits, without being free in between.
      const next = waiting.shift()
      if (next) next()
      else running--
    }
  }
}
