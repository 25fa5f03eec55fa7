/** Faults of the log and of what writes it. */
import type { Mutant } from './mutants.ts'

export const STORAGE: readonly Mutant[] = [
  {
    name: 'the sync flag of a durable commit is dropped',
    file: 'storage/level/committer.ts',
    find: 'await engine.write(rows.writes() as Iterable<Write>, fsync && durable)',
    put: 'await engine.write(rows.writes() as Iterable<Write>, false)',
    verdict: 'lost',
  },
  {
    name: 'a write that failed counts as written',
    file: 'storage/level/committer.ts',
    find: '      await this.#write(batch, rows, outcome, startedAt)\n',
    put: `      await this.#write(batch, rows, outcome, startedAt).catch(() => {
        this.#stale = true
        for (const participant of this.participants) participant.failed()
      })
`,
    verdict: 'lost',
  },
  {
    name: 'followers are told of a commit before it is written',
    file: 'storage/level/committer.ts',
    find: '      await this.#write(batch, rows, outcome, startedAt)\n',
    put: `      this.participants.forEach(participant => participant.afterWrite())
      for (const [at, transaction] of batch.entries()) if (!outcome[at]) transaction.committed()
      batch = batch.filter((_transaction, at) => outcome[at])
      outcome = outcome.filter(fault => fault)
      await this.#write(batch, rows, outcome, startedAt)
`,
    verdict: 'phantom',
  },
  {
    name: 'a repeat is not looked for',
    file: 'storage/level/append.ts',
    find: '    if (this.#dedupKey && stored) {',
    put: '    if (this.#dedupKey && stored && this.bytes === 0) {',
    verdict: 'doubled',
  },
  {
    name: 'dedupes by clientMessageId alone, whoever sent it',
    file: 'storage/level/append.ts',
    find: 'dedupKey(what.conversation, what.draft.from, part(clientMessageId))',
    put: "dedupKey(what.conversation, 'u:all' as never, part(clientMessageId))",
    verdict: 'lost',
  },
  {
    name: 'dedupes by sender and clientMessageId in whatever conversation',
    file: 'storage/level/append.ts',
    find: 'dedupKey(what.conversation, what.draft.from, part(clientMessageId))',
    put: "dedupKey('im/g:all' as ConversationKey, what.draft.from, part(clientMessageId))",
    verdict: 'lost',
  },
  {
    name: 'two appends of one batch take the same place',
    file: 'storage/level/log.ts',
    find: 'const known = this.#ends.moved(conversation) ?? this.#needs.hot.tail(conversation)',
    put: 'const known = this.#needs.hot.tail(conversation)',
    verdict: 'lost',
  },
  {
    name: 'what is in memory survives a write without an outcome',
    file: 'storage/level/log.ts',
    find: '    this.#needs.hot.clear()\n',
    put: '',
    verdict: 'lost',
  },
  {
    name: 'an end that was read while a write went by is kept',
    file: 'storage/level/reader.ts',
    find: 'if (generation === committer.generation && !told && end !== NOTHING)',
    put: 'if (generation >= 0 && end !== NOTHING)',
    verdict: 'lost',
  },
  {
    name: 'messages are counted with what is no message',
    file: 'storage/level/append.ts',
    find: "const n = kind === 'message' ? end.n + 1 : end.n",
    put: 'const n = end.n + 1',
    verdict: 'gap',
  },
  {
    name: 'the database is not looked at anew after a write without an outcome',
    file: 'storage/level/committer.ts',
    find: '      if (this.#stale) await this.#reopen()\n',
    put: '',
    verdict: 'lost',
  },
  {
    name: 'a batch is written in the wrong order',
    file: 'storage/level/committer.ts',
    find: '      const all = this.#queue\n',
    put: '      const all = this.#queue.reverse()\n',
    verdict: 'reordered',
  },
  {
    name: 'a block of history is kept that was not full yet',
    file: 'storage/level/blocks.ts',
    find: 'if (block.length === SIZE && before',
    put: 'if (before',
    verdict: 'not-linear',
  },
  {
    name: 'a page begins where memory begins',
    file: 'storage/level/hot.ts',
    find: 'end === undefined || from < start || to > end) return undefined\n    return entries.slice(from - start,',
    put: 'end === undefined || to > end) return undefined\n    return entries.slice(Math.max(0, from - start),',
    verdict: 'gap',
  },
]
