/** A message of another bucket is taken back with the entry that says so, or not at all, whoever looks and whoever dies. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as next } from 'node:timers/promises'
import { StoredEntry } from '../core/entry.ts'
import type { MessageLog } from '../core/ports.ts'
import { put, table } from '../core/ports.ts'
import { Decisions, newLock } from '../storage/cassandra/decisions.ts'
import { Retractions } from '../storage/cassandra/retractions.ts'
import { tombstoneJson } from '../storage/entry-json.ts'
import { fault, OPS, range, recalls, says, seq } from './contracts/ground.ts'
import { cassandra, keyspaceOf, opened, ringOf } from './support/keyspace.ts'

const { hosts, skip } = await cassandra()
const SIZE = 10
const NOTES = table<{ text: string }>('notes')

const textOf = async (log: MessageLog, at: number) => {
  const [entry] = await log.get([{ conversation: OPS, seq: seq(at) }])
  return entry?.entry.retracted ?? entry?.entry.text
}

/** A conversation of 25 in three buckets, and what a server that dies half way would have used. */
async function ground(t: TestContext) {
  const ours = keyspaceOf(t, hosts, { bucketSize: SIZE })
  const { log, records } = await opened(t, ours)
  await Promise.all(range(1, 25).map(n => log.append(OPS, says(`${n}`))))
  const ring = await ringOf(ours, ours.keyspace)
  t.after(() => ring[Symbol.asyncDispose]())
  const decisions = new Decisions(ring, () => performance.now())
  const retractions = new Retractions(ring, decisions, at => Math.floor((at - 1) / SIZE))
  const setAside = async (at: number) => {
    const [entry] = await log.get([{ conversation: OPS, seq: seq(at) }])
    assert.ok(entry)
    const tombstone = new StoredEntry(entry, Buffer.from(tombstoneJson(entry, 'recall')))
    const lock = newLock({ conversation: OPS, bucket: 2 })
    const target = { seq: seq(at), bucket: Math.floor((at - 1) / SIZE), tombstone, by: 'recall' }
    assert.equal(await retractions.setAside(OPS, target, lock), true)
    return lock
  }
  return { ours, log, records, ring, decisions, setAside }
}

test('whoever has seen the recall gets no body, at another server as well', { skip }, async t => {
  const { ours, log } = await ground(t)
  const other = await opened(t, ours)
  for (const target of [1, 10, 11, 20]) {
    const [before] = await other.log.tails([OPS])
    const recalled = log.append(OPS, recalls(target), { retracts: seq(target) })
    let end: number | undefined
    // Looked at while it is appended, and once more behind it.
    for (let isOver = false; !isOver; ) {
      isOver = await Promise.race([recalled.then(() => true), next(false)])
      const [tail] = await other.log.tails([OPS])
      const text = await textOf(other.log, target)
      end = tail?.seq
      if (end !== before?.seq) assert.equal(text, 'recall', `of ${target}`)
    }
    assert.equal((await recalled).seq, end)
    const [, ...told] = await log.read(OPS, { after: seq(target - 1), limit: 100 })
    assert.equal(told.at(-1)?.entry.target, target)
  }
})

test('of two servers that take the same back at once, one does, and its row changes with it', { skip }, async t => {
  const { ours, log, records } = await ground(t)
  const other = await opened(t, ours)
  for (const target of range(1, 8)) {
    const take = (at: MessageLog, text: string) =>
      at.append(OPS, recalls(target), {
        retracts: seq(target),
        changes: () => [put(NOTES, 'by', `${target}`, { text })],
      })
    const outcomes = await Promise.allSettled([take(log, 'one'), take(other.log, 'other')])
    const [won] = outcomes.flatMap(({ status }, nth) => (status === 'fulfilled' ? [['one', 'other'][nth]] : []))
    assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') assert.ok(fault('already-recalled')(outcome.reason))
    const found = await records.get(NOTES, 'by', `${target}`)
    assert.deepEqual([found?.row.text, found?.version], [won, 1])
  }
  assert.equal((await log.tails([OPS]))[0]?.seq, 33)
})

test('a server that died before it decided leaves the message as it was, and another takes it back', {
  skip,
}, async t => {
  const { log, ring, setAside } = await ground(t)
  await setAside(5)
  assert.equal(await textOf(log, 5), '5')
  assert.deepEqual(
    (await log.read(OPS, { limit: 10 })).map(({ entry }) => entry.text),
    range(1, 10).map(String),
  )
  await log.append(OPS, recalls(5), { retracts: seq(5) })
  assert.equal(await textOf(log, 5), 'recall')
  const [row] = await ring.read('SELECT lock, entry FROM log WHERE conversation = ? AND bucket = 0 AND seq = 5', [OPS])
  assert.equal(row?.lock, null)
})

test('a server that died after it decided has taken the message back, for every read, and its body goes', {
  skip,
}, async t => {
  const { log, ring, decisions, setAside } = await ground(t)
  for (const at of [3, 4]) await decisions.settle(await setAside(at), 'done')
  assert.equal(await textOf(log, 3), 'recall')
  const page = await log.read(OPS, { limit: 5 })
  assert.deepEqual(
    page.map(({ entry }) => entry.retracted ?? entry.text),
    ['1', '2', 'recall', 'recall', '5'],
  )
  const rows = await ring.read('SELECT seq, lock, entry FROM log WHERE conversation = ? AND bucket = 0 AND seq > 0', [
    OPS,
  ])
  for (const { seq, lock, entry } of rows)
    if ([3, 4].includes(Number(seq))) assert.ok(lock === null && !String(entry).includes('"text":'), String(entry))
})
