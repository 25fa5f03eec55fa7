/** Who the client is: a log-in whose tokens are renewed in time, or a personal key. */
import type { EpochMs } from '../protocol/ids.ts'
import type { Profile } from '../protocol/operations/shapes.ts'
import type { OperationName, Request, Result } from '../protocol/operations.ts'
import { Refusal } from './refusal.ts'
import { ask, type RestOptions } from './rest.ts'

/** What the app keeps to be logged in after a restart. */
export interface Tokens {
  app: string
  user: string
  accessToken: string
  /** Good for one renewal; keep the newest only. */
  refreshToken: string
  expiresAt: EpochMs
}
/** A personal key in place of a log-in: for scripts and bots. */
export interface KeyLogin {
  app?: string
  user: string
  key: string
}

interface Needs {
  rest: RestOptions
  now: () => EpochMs
  /** Told of new tokens, and with nothing when the log-in has ended. */
  changed: (tokens: Tokens | undefined) => void
}

/** A token that lives shorter than this is renewed before it is used. */
const MARGIN_MS = 60_000

export class Account {
  readonly #needs: Needs
  #tokens: Tokens | undefined
  #key: Required<KeyLogin> | undefined
  #renewing: Promise<Tokens> | undefined

  constructor(needs: Needs, known?: Tokens | KeyLogin) {
    this.#needs = needs
    if (known && 'key' in known) this.#key = { app: 'im', ...known }
    else this.#tokens = known
  }

  /** @throws Refusal `not-signed-in` */
  get identity(): { app: string; user: string } {
    const known = this.#tokens ?? this.#key
    if (!known) throw new Refusal('not-signed-in')
    return { app: known.app, user: known.user }
  }

  get tokens(): Tokens | undefined {
    return this.#tokens
  }

  register(request: Request<'register'>): Promise<Profile> {
    return this.#enter(ask(this.#needs.rest, 'register', request), request.app)
  }

  logIn(request: Request<'logIn'>): Promise<Profile> {
    return this.#enter(ask(this.#needs.rest, 'logIn', request), request.app)
  }

  /** Ends the log-in, here also when the server cannot be told. */
  async leave(): Promise<void> {
    const refreshToken = this.#tokens?.refreshToken
    this.#forget()
    this.#key = undefined
    if (refreshToken) await ask(this.#needs.rest, 'logOut', { refreshToken })
  }

  /** A token or key that is good for now. @throws Refusal */
  async secret(): Promise<string> {
    if (this.#key) return this.#key.key
    if (!this.#tokens) throw new Refusal('not-signed-in')
    if (this.#tokens.expiresAt - MARGIN_MS > this.#needs.now()) return this.#tokens.accessToken
    return (await this.renew()).accessToken
  }

  /**
   * New tokens for the refresh token; calls at the same time share one renewal, as a refresh token is good once.
   * @throws Refusal; a final one has ended the log-in.
   */
  renew(): Promise<Tokens> {
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined
    })
    return this.#renewing
  }

  async #renew(): Promise<Tokens> {
    const old = this.#tokens
    if (!old) throw new Refusal(this.#key ? 'bad-credentials' : 'not-signed-in')
    try {
      return this.#take(await ask(this.#needs.rest, 'refreshToken', { refreshToken: old.refreshToken }), old.app)
    } catch (thrown) {
      if (thrown instanceof Refusal && thrown.final && this.#tokens === old) this.#forget()
      throw thrown
    }
  }

  /** An operation by REST, with new tokens where the old ones turn out to have expired. @throws Refusal */
  async call<K extends OperationName>(name: K, request: Request<K>): Promise<Result<K>> {
    const { rest } = this.#needs
    try {
      return await ask(rest, name, request, await this.secret())
    } catch (thrown) {
      if (!(thrown instanceof Refusal && thrown.code === 'token-expired' && this.#tokens)) throw thrown
      return ask(rest, name, request, (await this.renew()).accessToken)
    }
  }

  async #enter(answer: Promise<Result<'logIn'>>, app = 'im'): Promise<Profile> {
    const login = await answer
    this.#key = undefined
    this.#take(login, app)
    return login.user
  }

  #take(login: Result<'logIn'>, app: string): Tokens {
    const { accessToken, refreshToken, expiresIn } = login
    const expiresAt = this.#needs.now() + expiresIn * 1_000
    this.#tokens = { app, user: login.user.user, accessToken, refreshToken, expiresAt }
    this.#needs.changed(this.#tokens)
    return this.#tokens
  }

  #forget(): void {
    if (!this.#tokens) return
    this.#tokens = undefined
    this.#needs.changed(undefined)
  }
}
