/** Accounts: who someone is, and how they show it. */
import * as z from 'zod'
import { AppId, UserId } from '../ids.ts'
import { cursor, DisplayName, limit, nothing, Password, Profile, pageOf, path } from './shapes.ts'

const Login = z.object({
  user: Profile,
  accessToken: z.string(),
  refreshToken: z.string(),
  /** Seconds. */ expiresIn: z.int(),
})
const app = AppId.default(AppId.parse('im'))
const Key = z.object({ id: z.string(), name: z.string(), createdAt: z.int() })

// biome-ignore format: a table, a row a line
export const accounts = {
  register: {
    says: 'Makes an account and logs it in.',
    may: 'anyone', rest: 'POST /register', status: 201,
    body: z.strictObject({ user: UserId, password: Password, name: DisplayName.optional(), app }),
    output: Login,
    faults: ['id-taken', 'registration-closed', 'too-many-requests'],
  },
  logIn: {
    says: 'Trades a password for an access token and a refresh token.',
    may: 'anyone', rest: 'POST /login',
    body: z.strictObject({ user: UserId, password: z.string().min(1).max(256), app }),
    output: Login,
    faults: ['bad-credentials', 'too-many-requests'],
  },
  refreshToken: {
    says: 'Trades a refresh token, once, for new tokens. One that was used before ends the whole log-in.',
    may: 'anyone', rest: 'POST /token',
    body: z.strictObject({ refreshToken: z.string().min(1).max(512) }),
    output: Login,
    faults: ['bad-credentials', 'token-expired', 'token-revoked'],
  },
  logOut: {
    says: 'Ends a log-in: its tokens and its MQTT connections.',
    may: 'anyone', rest: 'POST /logout', status: 204,
    body: z.strictObject({ refreshToken: z.string().min(1).max(512) }),
    output: nothing,
    faults: ['bad-credentials'],
  },
  getMe: { says: "The caller's own profile.", may: 'user', rest: 'GET /me', output: Profile, faults: [] },
  updateMe: {
    says: "Changes the caller's own profile; null takes a field away.",
    may: 'user', rest: 'PATCH /me',
    body: z.strictObject({ name: DisplayName.optional(), avatar: z.string().min(1).max(2048).nullable().optional(), about: z.string().min(1).max(512).nullable().optional() }),
    output: Profile,
    faults: [],
  },
  changePassword: {
    says: "Changes the caller's password and ends every other log-in; personal keys stay.",
    may: 'user', rest: 'PUT /me/password', status: 204,
    body: z.strictObject({ password: z.string().min(1).max(256), newPassword: Password }),
    output: nothing,
    faults: ['bad-credentials', 'too-many-requests'],
  },
  createKey: {
    says: 'Makes a personal key for stock clients and scripts. It is shown once and does not expire.',
    may: 'user', rest: 'POST /me/keys', status: 201,
    body: z.strictObject({ name: DisplayName }),
    output: Key.extend({ key: z.string() }),
    faults: ['too-many-keys'],
  },
  listKeys: { says: "The caller's personal keys, without their secrets.", may: 'user', rest: 'GET /me/keys', output: pageOf(Key), faults: [] },
  deleteKey: {
    says: 'Revokes a personal key and ends its MQTT connections.',
    may: 'user', rest: 'DELETE /me/keys/:id', status: 204,
    path: { id: z.string().min(1).max(64) }, output: nothing, faults: ['no-such-key'],
  },
  getUser: { says: "A user's profile.", may: 'user', rest: 'GET /users/:user', path: path.user, output: Profile, faults: ['no-such-user'] },
  findUsers: {
    says: 'Users whose id or name begins with the words given.',
    may: 'user', rest: 'GET /users',
    query: { q: z.string().trim().min(1).max(128), limit: limit(100, 20), cursor },
    output: pageOf(Profile), faults: [],
  },
} as const
