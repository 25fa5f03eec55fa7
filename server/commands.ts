/** Every command of `im`: what it says of itself, what it takes, and what it does. */
import { backingUp, restoring } from './commands/backup.ts'
import { doctor } from './commands/doctor.ts'
import { exporting } from './commands/export.ts'
import { importing } from './commands/import.ts'
import { PEOPLE } from './commands/people.ts'

/** What a command is called with. */
export interface Given {
  words: readonly string[]
  /** Switches that are set, without their dashes. */
  flags: ReadonlySet<string>
  /** Values of options, without their dashes. */
  values: Readonly<Record<string, string>>
}
export interface Command {
  /** A sentence without its full stop. */
  says: string
  /** What must be named, in this order. */
  words?: readonly string[]
  flags?: readonly string[]
  /** Options with what stands behind them. */
  values?: Readonly<Record<string, string>>
  /** Resolves to the exit code. */
  run(given: Given): Promise<number>
}

export const COMMANDS: Readonly<Record<string, Command>> = {
  doctor: {
    says: 'Checks settings, data directory, database, in a cluster Cassandra and Redis, clock and ports, changes nothing, and says what to do',
    flags: ['json'],
    run: ({ flags }) => doctor({ json: flags.has('json') }),
  },
  export: {
    says: 'Writes everything that is stored into a file, a JSON object a line, also while the server runs; in a cluster while none does',
    words: ['FILE'],
    flags: ['json'],
    run: exporting,
  },
  import: {
    says: 'Fills an empty data directory, or keyspace, from the file of an export, goes on where it was interrupted, and compares the two in the end; with `--verify` it only compares',
    words: ['FILE'],
    flags: ['verify', 'json'],
    run: importing,
  },
  backup: {
    says: "Backs up the database, or a cluster's keyspace, into a directory, also while servers run: all of it the first time and with `--full`, then what is new since the last time",
    words: ['DIRECTORY'],
    flags: ['full', 'json'],
    run: backingUp,
  },
  restore: {
    says: 'Brings back the newest backup of a directory, or the one that is named, into an empty data directory, or keyspace, and goes on where it was interrupted',
    words: ['DIRECTORY'],
    flags: ['json'],
    values: { backup: 'NUMBER' },
    run: restoring,
  },
  ...PEOPLE,
}

/** How a command is called. */
export function calls(name: string, { words = [], flags = [], values = {} }: Command): string {
  const options = [...Object.entries(values).map(([option, what]) => `${option} ${what}`), ...flags]
  return ['im', name, ...words, ...options.map(option => `[--${option}]`)].join(' ')
}

/** The commands as a Markdown table. */
export function commandTable(): string {
  const rows = Object.entries(COMMANDS).map(([name, command]) => `| \`${calls(name, command)}\` | ${command.says}. |`)
  return ['| command | what it does |', '|---|---|', ...rows].join('\n')
}
