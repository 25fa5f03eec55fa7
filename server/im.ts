/** `im <command>`: what an operator does beside the server. Exit codes: 0 fine, 1 problems, 2 wrong usage. */
import { parseArgs } from 'node:util'
import { sentenceOf } from './commands/trouble.ts'
import { COMMANDS, type Command, calls, type Given } from './commands.ts'

function usage(why: string): number {
  const lines = Object.entries(COMMANDS).map(([name, command]) => `  ${calls(name, command)}\n      ${command.says}.`)
  process.stderr.write(`${[why, 'Usage, with the settings of the server in the environment:', ...lines].join('\n')}\n`)
  return 2
}

/** Some commands are named by two words. */
function named(words: readonly string[]): { name: string; rest: string[] } | undefined {
  for (const count of [2, 1]) {
    const name = words.slice(0, count).join(' ')
    if (words.length >= count && Object.hasOwn(COMMANDS, name)) return { name, rest: words.slice(count) }
  }
  return undefined
}

/** @throws TypeError: an option that it does not take, or that has no value */
function given(args: string[], { flags = [], values = {} }: Command): Given {
  const options = Object.fromEntries([
    ...flags.map(flag => [flag, { type: 'boolean' as const }]),
    ...Object.keys(values).map(option => [option, { type: 'string' as const }]),
  ])
  const { values: found, positionals } = parseArgs({ args, options, allowPositionals: true, strict: true })
  const set = Object.entries(found)
  return {
    words: positionals,
    flags: new Set(set.filter(([, value]) => value === true).map(([flag]) => flag)),
    values: Object.fromEntries(set.filter((entry): entry is [string, string] => typeof entry[1] === 'string')),
  }
}

async function main(args: readonly string[]): Promise<number> {
  if (args.length === 0) return usage('im takes a command.')
  const found = named(args)
  if (!found) return usage(`${args[0]} is not a command.`)
  const command = COMMANDS[found.name] as Command
  let told: Given
  try {
    told = given(found.rest, command)
  } catch (thrown) {
    return usage((thrown as Error).message)
  }
  const { words = [] } = command
  if (told.words.length !== words.length) return usage(`im ${found.name} takes ${words.join(' ') || 'no more words'}.`)
  try {
    return await command.run(told)
  } catch (thrown) {
    const sentence = sentenceOf(thrown)
    if (sentence === undefined) throw thrown
    process.stderr.write(`${sentence}\n`)
    return 1
  }
}

/** When all is written: what a command has given up, as a node that takes connections and is silent, may go on for a minute. */
function end(code: number): void {
  process.stdout.write('', () => process.stderr.write('', () => process.exit(code)))
}

end(await main(process.argv.slice(2)))
