/** A log that cannot be written: nothing is acknowledged meanwhile, connections close with the reason, and resends are stored once. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { publishPacket } from '../bench/wire/packets.ts'
import { Script } from '../bench/wire/script.ts'
import { readConfig } from '../server/config.ts'
import { createServer } from '../server/server.ts'
import { openOver } from '../storage/level/open.ts'
import { openDirectory } from '../storage/open.ts'
import { entryOf, rest } from './support/person.ts'

const OUTAGE_MS = 5_000
const SENDERS = 10

/** A server whose log cannot be written while `broken`, and where positions of sessions are read when `held` is over. */
async function fragile(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'im-outage-'))
  const level = await openDirectory(dir)
  const log: { broken: boolean; held?: Promise<void> } = { broken: false }
  const batch = level.batch.bind(level) as () => { write: (options: object) => Promise<void> }
  // Below the log: the engine's own write fails, as on a disk that has gone.
  Object.assign(level, {
    batch: () => {
      const chained = batch()
      const write = chained.write.bind(chained)
      chained.write = options => (log.broken ? Promise.reject(new Error('injected')) : write(options))
      return chained
    },
  })
  const clock = { now: () => Date.now() }
  const storage = await openOver(level, {
    clock,
    fsync: true,
    lowWaterBytes: 0,
    free: async () => Number.POSITIVE_INFINITY,
  })
  const scan = storage.records.scan.bind(storage.records)
  const held: typeof scan = async (from, partition, range) => {
    if (from.name === 'cursors') await log.held
    return scan(from, partition, range)
  }
  Object.assign(storage.records, { scan: held })
  const env = {
    IM_HTTP_PORT: '0',
    IM_MQTT_PORT: '0',
    IM_DATA_DIR: dir,
    IM_RATE_LIMITS: 'off',
    IM_LOG_LEVEL: 'silent',
    IM_OWNER_PASSWORD: 'owner has a password',
  }
  const server = await createServer(readConfig(env), { storage })
  t.after(async () => {
    await server[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true, force: true })
  })
  const { body } = await rest(server, 'POST', '/v1/register', { user: 'alice', password: 'alice has a password' })
  const { accessToken } = body as { accessToken: string }
  assert.equal((await rest(server, 'POST', '/v1/groups', { group: 'ops', name: 'ops' }, accessToken)).status, 201)
  return { server, log, accessToken }
}

test('a reader who goes while nothing can be written is refused meanwhile, and then has nothing twice', async t => {
  const { server, log, accessToken } = await fragile(t)
  const options = { clientId: 'phone', username: 'alice', password: accessToken, clean: false }
  const connect = (version: 4 | 5) =>
    Script.connect({ port: server.ports.mqtt }, version, { ...options, properties: { sessionExpiryInterval: 600 } })
  const say = (text: string) =>
    rest(server, 'POST', '/v1/conversations/g:ops/messages', { text, clientMessageId: text }, accessToken)
  const phone = await connect(5)
  phone.wire.acknowledges = false
  await phone.subscribe('im/u/alice/inbox')
  for (const text of ['one', 'two', 'three']) assert.equal((await say(text)).status, 201)
  const [one, two, three] = [await phone.next('publish'), await phone.next('publish'), await phone.next('publish')]
  phone.ack('puback', one.id)
  phone.ack('puback', three.id)
  await phone.ping()
  log.broken = true
  await phone.cut()
  // Until the server has tried to write what the connection left, it waits; from then on it refuses at once.
  await assert.rejects(connect(5), { code: 0x88 })
  await assert.rejects(connect(4), { code: 3 })
  log.broken = false

  let again: Script | undefined
  while (!again) again = await connect(5).catch(() => undefined)
  const resent = await again.next('publish')
  assert.deepEqual([resent.id, resent.dup, entryOf(resent).text], [two.id, true, 'two'])
  await say('four')
  assert.equal(entryOf(await again.next('publish')).text, 'four')
  await again.disconnect()
})

test('who asks again for what the session has is granted it before its positions are read', {
  timeout: 30_000,
}, async t => {
  const { server, log, accessToken } = await fragile(t)
  const options = { clientId: 'phone', username: 'alice', password: accessToken, clean: false }
  const connect = () => Script.connect({ port: server.ports.mqtt }, 4, options)
  const phone = await connect()
  await phone.subscribe('im/u/alice/inbox')
  await phone.disconnect()
  const said = await rest(server, 'POST', '/v1/conversations/g:ops/messages', { text: 'one' }, accessToken)
  assert.equal(said.status, 201)
  let goOn = () => {}
  log.held = new Promise(resolve => {
    goOn = resolve
  })

  const again = await connect()
  assert.deepEqual(await again.subscribe('im/u/alice/inbox'), [1])
  const other = again.subscribe('im/u/alice/live')
  await again.ping()
  assert.deepEqual(again.untaken('suback'), [])
  assert.deepEqual(again.untaken('publish'), [])
  goOn()

  assert.equal(entryOf(await again.next('publish')).text, 'one')
  assert.deepEqual(await other, [0])
  await again.disconnect()
})

test(`the log is unavailable for ${OUTAGE_MS} ms under load`, { timeout: 120_000 }, async t => {
  const { server, log, accessToken } = await fragile(t)

  let ackedWhileBroken = 0
  const reasons: (number | undefined)[] = []
  let over = false
  const acked: string[] = []
  const senders = Array.from({ length: SENDERS }, async (_, i) => {
    const version = i % 2 === 0 ? 4 : 5
    const unacked = new Map<number, string>()
    let count = 0
    while (!over || unacked.size > 0) {
      // During the outage a CONNECT is refused too: a client tries again.
      const script = await Script.connect({ port: server.ports.mqtt }, version, {
        clientId: `s${i}`,
        username: 'alice',
        password: accessToken,
        clean: false,
      }).catch(() => undefined)
      if (!script) {
        await new Promise(resolve => setTimeout(resolve, 50))
        continue
      }
      for (const [id, text] of unacked)
        script.send(publishPacket(version, { topic: 'im/g/ops/send', payload: text, qos: 1, id, dup: true }))
      try {
        while (!over || unacked.size > 0) {
          while (!over && unacked.size < 4) {
            const text = `s${i} ${count++}`
            const id = (count % 60_000) + 1
            unacked.set(id, text)
            script.send(publishPacket(version, { topic: 'im/g/ops/send', payload: text, qos: 1, id }))
          }
          const { id } = await script.next('puback')
          if (log.broken) ackedWhileBroken++
          acked.push(unacked.get(id) as string)
          unacked.delete(id)
        }
        await script.disconnect()
      } catch {
        if (version === 5) reasons.push(script.untaken('disconnect')[0]?.code)
      }
    }
  })
  const until = async (reached: () => boolean) => {
    while (!reached()) await new Promise(resolve => setImmediate(resolve))
  }
  await until(() => acked.length > 200)
  log.broken = true
  const refused = await rest(server, 'POST', '/v1/conversations/g:ops/messages', { text: 'while broken' }, accessToken)
  assert.deepEqual([refused.status, (refused.body as { code: string }).code], [503, 'log-unavailable'])
  const from = acked.length
  // The length of the outage is what is tested here.
  await new Promise(resolve => setTimeout(resolve, OUTAGE_MS))
  const during = acked.length - from
  log.broken = false
  await until(() => acked.length > from + during + 200)
  over = true
  await Promise.all(senders)

  // What was durable before the first failing write may still be on its way to be read.
  assert.ok(ackedWhileBroken <= SENDERS * 4, `${ackedWhileBroken} acknowledged during the outage`)
  assert.equal(acked.length - new Set(acked).size, 0)
  assert.ok(reasons.length > 0 && reasons.every(code => code === 0x97), `closed with ${reasons}`)
  const texts: string[] = []
  for (let after = 0; ; ) {
    const page = await rest(
      server,
      'GET',
      `/v1/conversations/g:ops/messages?after=${after}&limit=500`,
      undefined,
      accessToken,
    )
    const { items } = page.body as { items: { seq: number; text?: string }[] }
    if (items.length === 0) break
    for (const { seq, text } of items) {
      assert.equal(seq, ++after)
      if (text) texts.push(text)
    }
  }
  assert.equal(new Set(texts).size, texts.length, 'a resend was stored twice')
  const stored = new Set(texts)
  for (const text of acked) assert.ok(stored.has(text), `${text} was acknowledged and is lost`)
})
