/** What the HTTP side tells of itself. Calls never throw and never wait. */
export interface HttpObserver {
  /** `route` is an operation's name or a fixed word, never a path. */
  answered(route: string, status: number, tookMs: number): void
  /** A mistake of the server that no operation told of. */
  failed(where: string, error: unknown): void
}
