/** Every command of `im`: what it says of itself, and what it takes. */
import { doctor } from './commands/doctor.ts'

export interface Command {
  /** A sentence without its full stop. */
  says: string
  options: readonly string[]
  /** Resolves to the exit code. */
  run(options: readonly string[]): Promise<number>
}

export const COMMANDS: Readonly<Record<string, Command>> = {
  doctor: {
    says: 'Checks settings, data directory, database, clock and ports, changes nothing, and says what to do',
    options: ['--json'],
    run: options => doctor({ json: options.includes('--json') }),
  },
}

/** How a command is called. */
export const calls = (name: string, { options }: Command) =>
  ['im', name, ...options.map(option => `[${option}]`)].join(' ')

/** The commands as a Markdown table. */
export function commandTable(): string {
  const rows = Object.entries(COMMANDS).map(([name, command]) => `| \`${calls(name, command)}\` | ${command.says}. |`)
  return ['| command | what it does |', '|---|---|', ...rows].join('\n')
}
