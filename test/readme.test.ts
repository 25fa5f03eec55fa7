/** The README's tour, run from the file: what a newcomer pastes does what the text says. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { EntryJson } from './support/person.ts'
import { absent, TestServer } from './support/server.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const skip = (await absent('mosquitto_pub')) || (await absent('curl'))

function block(name: string, language: string): string {
  const readme = readFileSync(`${root}/README.md`, 'utf8')
  const marked = readme.split(`<!-- ${name} -->`)[1]?.split(`<!-- /${name} -->`)[0] ?? ''
  const code = marked.split(`\`\`\`${language}\n`)[1]?.split('```')[0]
  assert.ok(code, `the README has no ${language} between the marks of ${name}`)
  return code
}

test('the five minutes of the README work as they are pasted', { skip, timeout: 60_000 }, async t => {
  const server = await TestServer.start(t)
  const { http, mqtt } = server.ports
  // Only the ports differ: the tour speaks of the standard ones.
  const script = block('tour', 'sh')
    .replaceAll('localhost:8080', `127.0.0.1:${http}`)
    .replaceAll(/^(mosquitto_(?:pub|sub)) /gm, `$1 -p ${mqtt} `)
  const shell = spawn('bash', ['-euo', 'pipefail'], { stdio: ['pipe', 'pipe', 'pipe'] })
  let out = ''
  let errors = ''
  shell.stdout.on('data', bytes => {
    out += bytes
  })
  shell.stderr.on('data', bytes => {
    errors += bytes
  })
  shell.stdin.end(script)
  const [code] = (await once(shell, 'close')) as [number]
  assert.equal(code, 0, errors)
  const lines = out.split(/\n|(?<=\})(?=\{)/).filter(line => line.startsWith('{'))
  const heard = lines.map(line => JSON.parse(line) as EntryJson & { items?: EntryJson[] })
  const texts = heard.flatMap(({ text }) => text ?? [])
  // The phone has the group's text, then alice's; the alert comes after what the device's registration said.
  assert.deepEqual(texts.slice(0, 2), ['the pump is running hot', 'see you at six'])
  assert.ok(texts.includes('92 °C'), out)
  assert.ok(heard.some(({ items }) => items?.some(({ text }) => text === 'the pump is running hot')))

  const sdk = spawn(process.execPath, ['--input-type=module'], { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => sdk.kill())
  sdk.stdin.end(block('tour-sdk', 'js').replaceAll('localhost:8080', `127.0.0.1:${http}`))
  const said: string[] = []
  for await (const line of createInterface(sdk.stdout)) {
    said.push(line)
    if (line.startsWith('stored as')) break
  }
  assert.match(said.at(-1) ?? '', /^stored as \d+$/)
})
