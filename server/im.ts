/** `im <command>`: what an operator does beside the server. Exit codes: 0 fine, 1 problems, 2 wrong usage. */
import { COMMANDS, calls } from './commands.ts'

function usage(why: string): number {
  const lines = Object.entries(COMMANDS).map(([name, command]) => `  ${calls(name, command)}\n      ${command.says}.`)
  process.stderr.write(`${[why, 'Usage, with the settings of the server in the environment:', ...lines].join('\n')}\n`)
  return 2
}

async function main([name, ...options]: readonly string[]): Promise<number> {
  if (name === undefined) return usage('im takes a command.')
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (!command) return usage(`${name} is not a command.`)
  const unknown = options.find(option => !command.options.includes(option))
  return unknown === undefined ? command.run(options) : usage(`${unknown} is not an option of im ${name}.`)
}

process.exitCode = await main(process.argv.slice(2))
