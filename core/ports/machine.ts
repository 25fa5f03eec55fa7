/** The machine: clock, chance, secrets, and the counting of attempts. */
import type { AppId, EpochMs, UserId } from '../../protocol/ids.ts'

export interface Clock {
  now(): EpochMs
}
/** Clock, timers and turns of the machine; a simulation brings its own. */
export interface Scheduler extends Clock {
  /** Runs once after `ms`; the returned function cancels it. */
  after(ms: number, run: () => void): () => void
  /** Runs after what is at hand now, before any timer. */
  soon(run: () => void): void
}
export interface Random {
  bytes(count: number): Uint8Array
}

/** Passwords, kept as argon2id. @throws Fault `too-many-requests` with `retryAfterMs`: too many are being worked on. */
export interface Passwords {
  hash(password: string): Promise<string>
  /** Takes as long for a hash that is absent. */
  verify(hash: string | undefined, password: string): Promise<boolean>
}
/** What an access token says. */
export interface Claims {
  app: AppId
  user: UserId
  /** The log-in that it belongs to; revoking it ends all of its tokens. */
  grant: string
  expiresAt: EpochMs
}
export interface Tokens {
  sign(claims: Claims): string
  /** @throws Fault `bad-credentials` · `token-expired` */
  verify(token: string): Claims | Promise<Claims>
}

/**
 * What is counted: wrong passwords of an account (`account:{app}/{user}`) and of a network (`guesses:{network}`),
 * registrations and failed log-ins and CONNECTs of a network (`entrance:{network}`).
 */
export type ThrottleKey = `${'account' | 'guesses' | 'entrance'}:${string}`
/**
 * Counts attempts and refuses more of them. An attempt is taken before its outcome is known, so that attempts made at
 * once cannot pass together, and given back when it was no failure.
 */
export interface Throttle {
  /** One attempt of each. @throws Fault `too-many-requests` with `retryAfterMs`, when any has none left; then none is taken. */
  take(...keys: ThrottleKey[]): Promise<void>
  /** What `take` took, as if it had not been. */
  giveBack(...keys: ThrottleKey[]): Promise<void>
  /** All attempts so far. */
  forget(...keys: ThrottleKey[]): Promise<void>
}
