/** Log-ins of an account that has had very many. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { type Found, put, table } from '../core/ports.ts'
import { as, ask, DAY, enter, type House, house, logIn, PASSWORD, refused, register } from './support/accounts.ts'

interface Row {
  expiresAt: number
  revokedAt?: number
}
const LOGINS = table<Row>('logins')
const plain = { hash: async (text: string) => text, verify: async (held?: string, text?: string) => held === text }

async function kept({ storage }: House) {
  const rows: Found<Row>[] = []
  for (;;) {
    const after: string | undefined = rows.at(-1)?.cursor
    const page = await storage.records.scan(LOGINS, 'im/alice', { limit: 1_000, ...(after && { after }) })
    if (page.length === 0) return rows
    rows.push(...page)
  }
}

test('a changed password ends every other log-in, however many there are', async t => {
  const at = await house(t, { passwords: plain })
  const { accessToken } = await register(at, 'alice')
  const row = { family: 'f', secret: 's', createdAt: at.clock.now(), expiresAt: at.clock.now() + DAY }
  const many = Array.from({ length: 2_500 }, (_, i) => put(LOGINS, 'im/alice', `!${String(i).padStart(6, '0')}`, row))
  await at.storage.records.write(many)
  await as(at, accessToken, 'changePassword', { password: PASSWORD, newPassword: 'battery staple' })
  assert.equal((await kept(at)).filter(({ row }) => !row.revokedAt).length, 1)
  await enter(at, accessToken)
})

test('log-ins that have ended are not kept without bound', async t => {
  const at = await house(t, { passwords: plain })
  const first = await register(at, 'alice')
  for (let i = 0; i < 150; i++) {
    at.clock.advance(1)
    const { refreshToken } = await logIn(at, 'alice')
    await ask(at, 'logOut', { refreshToken })
  }
  assert.ok((await kept(at)).length <= 102)
  await enter(at, first.accessToken)
  const last = await logIn(at, 'alice')
  await ask(at, 'logOut', { refreshToken: last.refreshToken })
  await refused('token-revoked', ask(at, 'refreshToken', { refreshToken: last.refreshToken }))
  at.clock.advance(31 * DAY)
  await logIn(at, 'alice')
  assert.equal((await kept(at)).length, 1)
})
