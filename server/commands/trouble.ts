/** What a command cannot do, said in a sentence for the operator. */
import { Fault } from '../../protocol/faults.ts'
import { CannotOpen } from '../../storage/open.ts'
import { ConfigError } from '../config.ts'

export class CannotDo extends Error {}

/** The sentence; undefined: it is a mistake of ours. */
export function sentenceOf(thrown: unknown): string | undefined {
  if (thrown instanceof CannotDo || thrown instanceof CannotOpen || thrown instanceof ConfigError) return thrown.message
  if (thrown instanceof Fault && thrown.code === 'log-unavailable') {
    const why = thrown.cause instanceof Error ? thrown.cause.message : thrown.message
    return `${why} Run \`im doctor\` with the server stopped: it tells all that is damaged, and what to do.`
  }
  if (thrown instanceof Fault) return [`${thrown.message} (${thrown.code})`, ...issuesOf(thrown)].join('\n')
  const { code, message } = thrown as NodeJS.ErrnoException
  // Of the file system: no room, no permission.
  return typeof code === 'string' && /^E[A-Z]+$/.test(code) ? message : undefined
}

function issuesOf({ details: { issues } }: Fault): string[] {
  return Array.isArray(issues) ? issues.map(({ path, message }) => `${[path].flat().join('.')}: ${message}`) : []
}
