/** The checker finds nothing in good histories, and every breach that is planted into them, as what it is. */
import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { check } from './checker/check.ts'
import { HistoryFile, readHistory } from './checker/file.ts'
import { goodHistory } from './checker/good.ts'
import { type Operation, VERDICTS } from './checker/history.ts'
import { PLANTS } from './checker/plants.ts'
import { acked, bob, got, log, PAIR, sent } from './checker/words.ts'
import { Chance, scale, seedOfRun } from './support/proof.ts'

const STRICT = { slackMs: 0, resendsInOrder: true }
const SEED = seedOfRun()
const HISTORIES = scale('HISTORIES', 100)
const replay = (test: string, seed: number) =>
  `replay: SEED=${SEED} node --test --test-name-pattern='${test}' dist/test/checker.test.js (history ${seed})`

test(`nothing is found in ${HISTORIES} good histories`, () => {
  for (let i = 0; i < HISTORIES; i++) {
    const found = check(goodHistory(SEED + i), STRICT)
    assert.deepEqual(found, [], replay('good histories', SEED + i))
  }
})

for (const verdict of VERDICTS) {
  for (const [name, plant] of Object.entries(PLANTS[verdict])) {
    test(`${verdict} is found wherever ${name}`, () => {
      let planted = 0
      for (let i = 0; planted < HISTORIES / 4; i++) {
        assert.ok(i < 10 * HISTORIES, 'histories have no place for it')
        const broken = plant(goodHistory(SEED + i), new Chance(SEED + i))
        if (!broken) continue
        planted++
        const found = check(broken, STRICT)
        const verdicts = [...new Set(found.map(one => one.verdict))]
        assert.deepEqual(verdicts, [verdict], `${replay(name, SEED + i)}\n${JSON.stringify(found, null, 1)}`)
      }
    })
  }
}

test('a history comes back from its file as it was, also where a log is long and the last line is cut', t => {
  const dir = mkdtempSync(join(tmpdir(), 'im-history-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const history = goodHistory(SEED)
  const path = join(dir, 'history.ndjson')
  for (const part of [history.slice(0, 100), history.slice(100)]) {
    const file = new HistoryFile(path)
    for (const operation of part) file.add(operation)
    file.close()
  }
  appendFileSync(path, '{"do":"sent","text":"界')
  assert.deepEqual([...readHistory(path)], history)
  assert.deepEqual(check(readHistory(path), STRICT), [])

  const texts = Array.from({ length: 25_000 }, (_, i) => `界 ${i}`)
  const file = new HistoryFile(join(dir, 'long'))
  for (const text of texts) file.add(sent(text))
  file.add(log(PAIR, ...texts))
  file.close()
  const read = [...readHistory(file.path)]
  assert.deepEqual(
    read.filter(operation => operation.do === 'log').flatMap(({ entries }) => entries.map(({ text }) => text)),
    texts,
  )
  assert.deepEqual(check(read), [])
})

test('a long history takes a time that grows with its length only', () => {
  const MESSAGES = scale('MESSAGES', 100_000)
  const history: Operation[] = [...bob('b1')]
  const texts = Array.from({ length: MESSAGES }, (_, i) => `message ${i}`)
  texts.forEach((text, i) => {
    history.push(sent(text, { connection: `a${i % 20}`, at: i }), acked(text, i), got('b1', i + 1, text, { at: i }))
  })
  history.push({ ...log(PAIR, ...texts), at: MESSAGES + 100_000 })
  const start = performance.now()
  assert.deepEqual(check(history), [])
  const tookMs = performance.now() - start
  assert.ok(tookMs < MESSAGES * 0.1, `${MESSAGES} messages took ${Math.round(tookMs)} ms`)
})
