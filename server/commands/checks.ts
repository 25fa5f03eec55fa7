/** What `im doctor` says of one thing after the other. */

export interface Check {
  check: 'settings' | 'directory' | 'database' | 'cassandra' | 'redis' | 'clock' | 'ports'
  level: 'ok' | 'warning' | 'problem' | 'skipped'
  says: string
  /** What an operator can do about it. */
  todo?: string
}

export type Tell = (level: Check['level'], says: string, todo?: string) => void

/** Adds what is said of one thing to all that is. */
export const telling =
  (check: Check['check'], checks: Check[]): Tell =>
  (level, says, todo) =>
    checks.push({ check, level, says, ...(todo !== undefined && { todo }) })
