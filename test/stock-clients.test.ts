/** Stock clients as full citizens: what mosquitto_pub sends is a chat message like any other. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { type EntryJson, entryOf, type Person } from './support/person.ts'
import { absent, TestServer } from './support/server.ts'

const skip = (await absent('mosquitto_pub')) || (await absent('mosquitto_sub'))

const account = (person: Person) => ['-p', String(person.server.ports.mqtt), '-u', person.user, '-P', person.key]

async function publish(person: Person, version: string, ...rest: string[]): Promise<number> {
  const child = spawn('mosquitto_pub', [...account(person), '-V', version, '-q', '1', ...rest], { stdio: 'ignore' })
  const [code] = (await once(child, 'exit')) as [number]
  return code
}

/** Starts mosquitto_sub and waits until its subscription is granted. */
async function subscribe(person: Person, ...rest: string[]) {
  // Line by line also where it writes to a pipe.
  const command = ['-oL', 'mosquitto_sub', ...account(person), '-q', '1', '-d', ...rest]
  const child = spawn('stdbuf', command, {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const lines: string[] = []
  const out = createInterface(child.stdout)
  const subscribed = new Promise<void>(resolve => out.on('line', line => line.startsWith('Subscribed') && resolve()))
  out.on('line', line => line.startsWith('{') && lines.push(line))
  const ended = once(child, 'exit')
  await Promise.race([subscribed, ended])
  return { lines, ended }
}

for (const version of ['5', '311']) {
  test(`what mosquitto_pub -V ${version} says to a group is stored and reaches every member`, { skip }, async t => {
    const server = await TestServer.start(t)
    const { alice, bob } = await server.people('alice', 'bob')
    await alice.group('ops', bob)
    const phone = await bob.connect(4)
    await phone.subscribe(bob.inbox)
    const own = await alice.connect(5)
    await own.subscribe(alice.inbox)
    const tool = await subscribe(bob, '-V', version, '-t', 'im/g/ops/message', '-C', '1')

    assert.equal(await publish(alice, version, '-t', 'im/g/ops/send', '-m', 'hello, 世界'), 0)

    const [entry] = (await alice.history('g:ops')).slice(-1) as [EntryJson]
    assert.equal(entry.text, 'hello, 世界')
    assert.equal(entry.from, 'alice')
    for (const reader of [phone, own]) assert.deepEqual(entryOf(await reader.next('publish')), entry)
    await tool.ended
    assert.deepEqual(
      tool.lines.map(line => JSON.parse(line)),
      [entry],
    )
  })
}

test('the same text twice from mosquitto_pub -i x is two messages', { skip }, async t => {
  const server = await TestServer.start(t)
  const { alice } = await server.people('alice')
  await alice.group('ops')
  for (let i = 0; i < 2; i++)
    assert.equal(await publish(alice, '311', '-i', 'x', '-t', 'im/g/ops/send', '-m', 'again'), 0)
  assert.equal((await alice.history('g:ops')).filter(({ text }) => text === 'again').length, 2)
})

test('a message waits for mosquitto_sub, which was away', { skip }, async t => {
  const server = await TestServer.start(t)
  const { alice, bob } = await server.people('alice', 'bob')
  const session = ['-V', '5', '-c', '-x', '3600', '-i', 'tool', '-t', bob.inbox]
  const first = await subscribe(bob, ...session, '-E')
  await first.ended
  for (const text of ['one', 'two']) assert.equal(await publish(alice, '5', '-t', 'im/u/bob/send', '-m', text), 0)
  const second = await subscribe(bob, ...session, '-C', '2')
  await second.ended
  assert.deepEqual(
    second.lines.map(line => (JSON.parse(line) as EntryJson).text),
    ['one', 'two'],
  )
})
